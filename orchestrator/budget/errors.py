"""What ends a run that may not use more, in the terms of Pydantic AI."""

from decimal import Decimal

from pydantic_ai import UsageLimitExceeded

OF_SPEC = "Raise it in the agent's spec, or ask for less."


class BudgetExceededError(UsageLimitExceeded):
    """A budget is used up; the run ends before the next request to the model."""

    def __init__(
        self,
        *,
        limit: Decimal,
        actual: Decimal,
        unit: str,
        whose: str = "",
        advice: str = OF_SPEC,
    ) -> None:
        self.limit = limit
        self.actual = actual
        self.unit = unit
        self.advice = advice
        of = f" of {whose}" if whose else ""
        super().__init__(f"The budget of {limit} {unit}{of} is used up: {actual} so far.")


class PriceUnknownError(UsageLimitExceeded):
    """The cost of a run is limited and cannot be counted."""

    def __init__(self, model: str, advice: str) -> None:
        self.model = model
        super().__init__(
            f"What model {model!r} costs is not known, and the budget limits the cost. {advice}"
        )


OF_MODEL = "Name a model whose price is known, or write 'unpriced: true' into the spec's Budget."
