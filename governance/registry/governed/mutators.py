"""Every public method of MLflow's stores: judged, or known to be harmless.

A method that is in no list here makes the store unavailable: a newer MLflow may have found another
way to move an alias, and a person must look at it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from governance.base.errors import StorageError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REGISTRY_JUDGED = _names(
    """
copy_model_version create_model_version create_registered_model delete_model_version
delete_model_version_tag delete_registered_model delete_registered_model_alias
delete_registered_model_tag get_latest_versions get_model_version_by_alias rename_registered_model
set_model_version_tag set_registered_model_alias set_registered_model_tag
transition_model_version_stage update_model_version update_registered_model
"""
)
"""Methods of the model registry that `rules` judges, by name, alias, source or tag. Two of them
only read, but can answer `latest`.
"""

REGISTRY = REGISTRY_JUDGED | _names(
    """
create_prompt create_prompt_version create_webhook delete_prompt delete_prompt_alias
delete_prompt_tag delete_prompt_version delete_prompt_version_tag delete_webhook get_model_version
get_model_version_download_uri get_prompt get_prompt_version get_prompt_version_by_alias
get_registered_model get_webhook link_prompt_version_to_model link_prompt_version_to_run
link_prompts_to_trace list_webhooks list_webhooks_by_event search_model_versions
search_prompt_versions search_prompts search_registered_models set_prompt_alias set_prompt_tag
set_prompt_version_tag test_webhook update_webhook
"""
)
"""All methods of the model registry. Those that are not judged change no model, or MLflow makes
them of judged ones (prompts).
"""

MLFLOW_3_18 = _names(
    """
bulk_register_skills create_skill create_skill_version delete_skill delete_skill_alias
delete_skill_and_collect_artifacts delete_skill_tag delete_skill_version delete_skill_version_tag
get_latest_skill_version get_skill get_skill_version get_skill_version_by_alias
list_budget_policies_across_workspaces search_skill_versions search_skills set_skill_alias
set_skill_tag set_skill_version_tag update_skill update_skill_version
"""
)
"""What MLflow 3.18 adds to runs and experiments. The governed server leaves out the routes of
skills.
"""

TRACKING = MLFLOW_3_18 | _names(
    """
add_dataset_to_experiments add_guardrail_to_endpoint add_items_to_review_queue archive_traces
attach_model_to_endpoint batch_get_trace_infos batch_get_traces calculate_trace_filter_correlation
create_assessment create_budget_policy create_dataset create_endpoint_binding create_experiment
create_gateway_endpoint create_gateway_guardrail create_gateway_model_definition
create_gateway_secret create_issue create_label_schema create_logged_model
create_mcp_access_endpoint create_mcp_server create_mcp_server_version create_review_queue
create_run delete_assessment delete_budget_policy delete_dataset delete_dataset_records
delete_dataset_tag delete_endpoint_binding delete_experiment delete_experiment_tag
delete_gateway_endpoint delete_gateway_endpoint_tag delete_gateway_guardrail
delete_gateway_model_definition delete_gateway_secret delete_label_schema delete_logged_model
delete_logged_model_tag delete_mcp_access_endpoint delete_mcp_server delete_mcp_server_alias
delete_mcp_server_tag delete_mcp_server_version delete_mcp_server_version_tag delete_review_queue
delete_run delete_scorer delete_tag delete_trace_tag delete_traces deprecated_end_trace_v2
deprecated_start_trace_v2 detach_model_from_endpoint end_async_logging filter_active_experiment_ids
finalize_logged_model find_completed_sessions flush_async_logging get_active_online_scorers
get_assessment get_budget_policy get_dataset get_dataset_experiment_ids get_experiment
get_experiment_by_name get_gateway_endpoint get_gateway_guardrail get_gateway_model_definition
get_issue get_label_schema get_label_schema_by_name get_latest_mcp_server_version get_logged_model
get_max_step_for_metric get_mcp_access_endpoint get_mcp_server get_mcp_server_version
get_mcp_server_version_by_alias get_mcp_server_versions_for_trace get_metric_history
get_metric_history_bulk get_metric_history_bulk_interval
get_metric_history_bulk_interval_from_steps get_online_scoring_configs get_online_trace_details
get_or_create_user_queue get_review_queue get_review_queue_by_name get_run get_scorer
get_secret_info get_trace get_trace_info link_mcp_server_versions_to_trace link_prompts_to_trace
link_traces_to_run list_budget_policies list_endpoint_bindings list_endpoint_guardrail_configs
list_gateway_endpoints list_gateway_guardrails list_gateway_model_definitions list_label_schemas
list_review_queue_items list_review_queues list_scorer_versions list_scorers
list_scorers_across_experiments list_secret_infos log_batch log_batch_async log_inputs
log_logged_model_params log_metric log_metric_async log_outputs log_param log_param_async log_spans
log_spans_async query_trace_metrics record_logged_model register_scorer
remove_dataset_from_experiments remove_guardrail_from_endpoint remove_items_from_review_queue
rename_experiment resolve_endpoint_in_scorer resolve_trace_archival_config restore_experiment
restore_run sanitize_metric_value search_datasets search_entities_by_destination
search_entities_by_source search_experiments search_issues search_logged_models
search_mcp_access_endpoints search_mcp_server_versions search_mcp_servers search_runs search_traces
set_dataset_tags set_experiment_tag set_gateway_endpoint_tag set_logged_model_tags
set_mcp_server_alias set_mcp_server_tag set_mcp_server_version_tag set_model_versions_tags
set_review_queue_item_status set_tag set_tag_async set_trace_tag shut_down_async_logging
start_trace sum_gateway_trace_cost unlink_traces_from_run update_assessment update_budget_policy
update_endpoint_guardrail_config update_gateway_endpoint update_gateway_model_definition
update_gateway_secret update_issue update_label_schema update_mcp_access_endpoint update_mcp_server
update_mcp_server_version update_review_queue update_run_info upsert_dataset_records
upsert_online_scoring_config
"""
)
"""All methods for runs and experiments. Run data is for display and may be written again;
`tracking_store` guards what a governed version needs.
"""


TAGGED = _names(
    """
create_dataset create_experiment create_logged_model create_run delete_dataset_tag
delete_experiment_tag delete_gateway_endpoint_tag delete_logged_model_tag delete_mcp_server_tag
delete_mcp_server_version_tag delete_tag delete_trace_tag deprecated_end_trace_v2
deprecated_start_trace_v2 log_batch log_batch_async log_inputs set_dataset_tags set_experiment_tag
set_gateway_endpoint_tag set_logged_model_tags set_mcp_server_tag set_mcp_server_version_tag set_tag
set_tag_async set_trace_tag start_trace upsert_dataset_records
"""
)
"""Methods of `TRACKING` that write or delete tags."""
TAG_PARAMETERS = _names("tags tag key datasets trace_info records")
"""Names of the parameters in which they get tags."""


def tag_keys(arguments: Mapping[str, Any]) -> Iterator[str]:
    """The keys of all tags in the arguments of a call of `TAGGED`."""
    for name in sorted(TAG_PARAMETERS & set(arguments)):
        value = arguments[name]
        match name:
            case "key":
                yield str(value)
            case "tag":
                yield str(value.key)
            case "tags":
                yield from _keys(value)
            case "trace_info":
                yield from _keys(value.tags)
            case "datasets":
                yield from (key for dataset in value or () for key in _keys(dataset.tags))
            case "records":
                yield from (key for record in value or () for key in _keys(record.get("tags")))


def _keys(tags: Any) -> Iterator[str]:
    """Of a mapping, or of MLflow's entities."""
    for tag in tags or ():
        yield str(getattr(tag, "key", tag))


def check_classified(store: type, known: frozenset[str]) -> None:
    """Raises `StorageError` where a store has a public method that nobody has looked at."""
    methods = {name for name in dir(store) if callable(getattr(store, name))}
    unknown = sorted(name for name in methods - known if not name.startswith("_"))
    if unknown:
        raise StorageError(
            f"{store.__module__} has methods that nobody has looked at: {', '.join(unknown)}",
            fix="use MLflow's version of constraints.txt, or classify them in governed/mutators.py",
        )


def check_parameters(operation: str, arguments: Iterable[str], known: str) -> None:
    """Raises `StorageError` where a call has a parameter that nobody has looked at."""
    unknown = sorted(set(arguments) - set(known.split()))
    if unknown:
        raise StorageError(
            f"{operation} has parameters that nobody has looked at: {', '.join(unknown)}",
            fix="use MLflow's version of constraints.txt",
        )
