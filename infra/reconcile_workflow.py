"""WORKFLOW: what is at the analyzers against what is in the table, each day and on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run, start_until_done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# Most analyzers are in Regions of their own, with limits of their own; the table is one.
ANALYZERS_AT_ONCE = 4


class ReconcileWorkflow(Construct):
    """State machine: list analyzers; at each its archive rules and findings; blind spots; start.

    What events missed, and what is no more, goes the way of all findings: each is a start of the
    finding workflow. An analyzer that cannot be read hides no other, and nothing of it is closed.
    ``terms``: ``settings.finding_terms()``. The input may be anything.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        list_analyzers: StepFunction,
        apply_archive_rules: StepFunction,
        compare_findings: StepFunction,
        review_watch: StepFunction,
        start_findings: StepFunction,
        record_run_function: StepFunction,
        terms: Mapping[str, Any],
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="reconcile")
        listed = list_analyzers.as_task(
            self,
            {"terms": terms, "execution.$": "$$.Execution.Id"},
            result_path="$.listed",
            on_failure=end,
        )
        each = sfn.Map(
            self,
            "Look at each analyzer",
            items_path="$.listed.analyzers",
            max_concurrency=ANALYZERS_AT_ONCE,
            item_selector={
                "analyzer.$": "$$.Map.Item.Value",
                # So they stay where a step fails, or none does.
                "applied": {},
                "compared": {},
                "rules_failure": {},
                "failure": {},
            },
            # Of each analyzer some hundred bytes: what they found lies in objects.
            result_path="$.results",
        )
        each.item_processor(self._analyzer(apply_archive_rules, compare_findings, terms))
        each.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        review = review_watch.as_task(
            self,
            {
                "listed.$": "$.listed",
                "results.$": "$.results",
                "execution.$": "$$.Execution.Id",
                "terms": terms,
            },
            result_path="$.reviewed",
            on_failure=end,
        )
        start = start_until_done(self, start_findings, {"input.$": "$.reviewed"}, on_failure=end)
        self.workflow = Workflow(
            self,
            "Reconcile",
            definition=listed.next(each).next(review).next(start),
            log_group=log_group,
            functions=[
                list_analyzers,
                apply_archive_rules,
                compare_findings,
                review_watch,
                start_findings,
                record_run_function,
            ],
        )

    def _analyzer(
        self, apply_rules: StepFunction, compare: StepFunction, terms: Mapping[str, Any]
    ) -> sfn.IChainable:
        """Return what is done at one analyzer; it always ends well, and says what failed.

        Of an error only its name goes on: causes may have 32 KiB, and the map's result 256 in all.
        """
        apply_task = apply_rules.as_task(
            self,
            {
                "analyzer.$": "$.analyzer",
                "terms": terms,
                "execution.$": "$$.Execution.Id",
            },
            result_path="$.applied",
        )
        compare_task = compare.as_task(
            self,
            {"analyzer.$": "$.analyzer", "execution.$": "$$.Execution.Id"},
            result_path="$.compared",
        )
        rules_unknown = self._only_name("Archive rules unknown", "$.rules_failure")
        unknown = self._only_name("Analyzer unknown", "$.failure")
        apply_task.add_catch(rules_unknown, errors=["States.ALL"], result_path="$.rules_failure")
        compare_task.add_catch(unknown, errors=["States.ALL"], result_path="$.failure")
        rules_unknown.next(compare_task)
        return apply_task.next(compare_task)

    def _only_name(self, state_name: str, path: str) -> sfn.Pass:
        return sfn.Pass(self, state_name, parameters={"Error.$": f"{path}.Error"}, result_path=path)
