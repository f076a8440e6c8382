"""What ends a run that may not use more, in the terms of Pydantic AI."""

from decimal import Decimal

from pydantic_ai import UsageLimitExceeded

OF_SPEC = "Raise it in the agent's spec, or ask for less."


class _OverError(UsageLimitExceeded):
    """An error in our words, without the advice for programmers that Pydantic AI adds."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.args = (message,)


class BudgetExceededError(_OverError):
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


class PriceUnknownError(_OverError):
    """The cost of a run is limited and cannot be counted."""

    def __init__(self, model: str, advice: str) -> None:
        self.model = model
        super().__init__(
            f"What model {model!r} costs is not known, and the budget limits the cost. {advice}"
        )


OF_MODEL = "Name a model whose price is known, or write 'unpriced: true' into the spec's Budget."
