"""Parts of the training stage: methods, objectives, rewards, and the one module that runs TRL."""
