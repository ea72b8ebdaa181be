"""The JSON of requests and answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(max_length=64, pattern=r"^\S+$")]
"""A short word, so that no sentence passes for one."""


class PredictRequest(BaseModel):
    """Texts to label."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str] = Field(description="raw texts", examples=[["Curcumin induced apoptosis."]])
    evidence: bool = Field(False, description="also return the part of the text that speaks most for each label")
    ids: list[Id] | None = Field(None, description="a name for each text, for the audit file", examples=[["n-17"]])


class TextPrediction(BaseModel):
    """Labels of one text."""

    labels: list[str] = Field(description="labels whose probability reaches their threshold")
    probabilities: dict[str, float] = Field(description="of every label")
    evidence: dict[str, tuple[int, int]] | None = Field(
        None, description="label -> [start, end) in Unicode code points of the part that speaks most for it"
    )


class PredictResponse(BaseModel):
    """Labels of each text, in the order of the request."""

    fingerprint: str = Field(description="identity of the classifier")
    predictions: list[TextPrediction]


class Label(BaseModel):
    """A label and the probability from which it counts as present."""

    name: str
    threshold: float


class LabelsResponse(BaseModel):
    """The classifier that answers, and the most that it accepts."""

    name: str
    fingerprint: str
    version: str
    labels: list[Label]
    reading: dict[str, Any] = Field(description="how texts become the classifier's input")
    limits: dict[str, int]


class Refusal(BaseModel):
    """The rule that a request breaks. It never quotes the request."""

    error: str
