"""What the training stage needs: methods, objectives, rewards, and the one module that runs TRL."""
