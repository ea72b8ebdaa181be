"""The settings of a stage: its start, its teachers, and how it learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kdh_ray.config.fields import SEEDS, Count, Fraction, Location, Positive, Section

Pooling = Literal["mean", "cls"]


class LossConfig(Section):
    """The loss of a stage: ``alpha * soft + (1 - alpha) * hard + hidden_weight * hidden``."""

    hard: Literal["bce", "asymmetric"] = Field("bce", description="loss on labels")
    class_weights: bool = Field(False, description="weigh positives by sqrt(negatives / positives) of each label")
    soft: Literal["bernoulli-kl", "softmax-kl"] = Field("bernoulli-kl", description="loss on teacher logits")
    temperature: Positive = Field(2.0, description="T; soft losses are multiplied by T^2")
    alpha: Fraction = Field(0.5, description="weight of the soft loss")
    hidden_weight: float = Field(0.0, description="weight of the hidden-state loss", ge=0.0)
    segment_weight: float = Field(1.0, description="weight of the losses on a document's parts", ge=0.0)


class StageConfig(Section):
    """The training of one model. Epochs are passes over the training split; rates are per optimiser step."""

    start: Location = Field("embedded", description="an earlier stage's name, 'embedded', a folder, or a hub name")
    layers: Count | None = Field(None, description="keep this many of the start's encoder layers, evenly spaced")
    pooling: Pooling = Field(
        "mean", description="vector of a document: the mean of its tokens, or its first token (cls), as a start's is"
    )
    teachers: tuple[Location, ...] = Field(
        (), description="earlier stages, or folders of checkpoints, whose mean logits are distilled"
    )
    unlabelled_teachers: tuple[Location, ...] = Field(
        (), description="teachers of this stage on data.unlabelled.path; data.unlabelled.teachers if empty"
    )
    members: int = Field(
        1, description="models that differ by their seeds, trained as NAME-1, NAME-2, ..; the stage is their mean",
        ge=1, le=99,
    )  # fmt: skip
    fold: Count | None = Field(
        None,
        description="set for the models that data.folds adds: the fold that judges the model, trained on the others",
    )
    max_tokens: int | None = Field(
        None, description="tokens per document; data.max_tokens, which is also the most, if not set", ge=8, le=8192
    )
    epochs: Count = Field(4, description="passes over the training split")
    finetune_epochs: int = Field(
        0, description="further epochs of a distillation, on labels only; the rate rises and falls again", ge=0
    )
    batch_size: Count = Field(16, description="documents per optimiser step, over all workers")
    accumulate: Count = Field(1, description="split each batch into this many passes, for memory")
    learning_rate: float = Field(1e-4, description="highest rate of the encoder's top layer", gt=0.0, le=1.0)
    head_multiplier: Positive = Field(10.0, description="the head's learning rate divided by the encoder's")
    layer_decay: float = Field(
        1.0, description="learning rate of a layer divided by that of the layer above", gt=0.0, le=1.0
    )
    warmup: Fraction = Field(0.1, description="share of steps during which the rate rises")
    freeze: int = Field(
        0, description="lowest encoder layers (and the embeddings) that keep the start's weights; 0: none", ge=0
    )
    weight_decay: float = Field(0.01, description="of AdamW", ge=0.0, le=1.0)
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="of hidden states and head; attention has none")
    max_grad_norm: Positive = Field(1.0, description="longer gradients are scaled down to this norm")
    average: float = Field(
        0.0, description="decay of the exponential moving average of weights; 0: none", ge=0.0, lt=1.0
    )
    patience: int = Field(0, description="epochs without a better validation score before stopping; 0: never", ge=0)
    seed: int | None = Field(
        None, description="made from the run's seed and the stage's name if not set", ge=0, lt=SEEDS
    )
    loss: LossConfig = LossConfig()

    def member(self, number: int) -> StageConfig:
        """Return the settings of a member; numbers start from 1.

        A seed that is set goes up by one from member to member; seeds that are not set are made from members' names.
        """
        seed = None if self.seed is None else (self.seed + number - 1) % SEEDS
        return self.model_copy(update={"members": 1, "seed": seed})

    @property
    def total_epochs(self) -> int:
        """Epochs of the stage, with those that follow a distillation on labels only."""
        return self.epochs + self.finetune_epochs
