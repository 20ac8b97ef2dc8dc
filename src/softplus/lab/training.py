"""Training: the trials of an arm side by side where their networks allow it, else one by one."""

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from softplus import samples
from softplus.lab import activations, stacking
from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError
from softplus.lab.measures import Measures, UpdatePath, measure
from softplus.lab.problems.adam import Optimizer
from softplus.lab.problems.torch_problem import Examples, Split, TorchProblem
from softplus.lab.stacking import Alone, Stack
from softplus.lab.trials import Drift, Outcome, Trial

# So many seeds of an arm are trained twice: eight ratios on one side are a finding of Holm's method
# beside up to five other arms, as 2/2^8 is below 5% / 6.
_TWINS = 8
# Numbers in the validation rows of a stack: 64 MB.
_MOST_NUMBERS = 2**24
# Steps whose examples are gathered at once: a gather of one step costs as much as of sixteen.
_GATHERED = 16


@dataclass(frozen=True)
class _Data:
    """What a seed draws of the data, in batches of so many rows, so many an epoch."""

    split: Split
    examples: Examples
    batch: int
    batches: int

    @classmethod
    def of(cls, problem: TorchProblem, seed: int) -> Self:
        """Return what this seed draws; the number of steps is the same for every seed."""
        split = problem.split(seed)
        rows = problem.parts["train"]
        batch = problem.batch_size
        if batch > rows:
            batch = rows // stacking.VECTOR * stacking.VECTOR or rows
        return cls(split, problem.examples(split.train), batch, rows // batch)

    def epochs(self, seed: int) -> Iterator[Tensor]:
        """Yield the training rows in a new order, again and again; what fills no batch sits out."""
        generator = torch.Generator().manual_seed(seed)
        train, wanted = self.split.train, self.batch * self.batches
        while True:
            # A split by groups may have fewer rows than the first one: then some come twice.
            rounds = math.ceil(wanted / len(train))
            orders = [torch.randperm(len(train), generator=generator) for _ in range(rounds)]
            yield train[torch.cat(orders)[:wanted]]


@dataclass
class _Run:
    """One network in training: where it comes from, and what was seen of it so far."""

    trial: Trial
    data: _Data
    model: nn.Module
    curve: list[tuple[int, float]] = field(default_factory=list)
    best: float = math.nan
    steps_to_goal: int | None = None
    diverged_at: int | None = None
    measures: Measures | None = None
    last_weights: Tensor | None = None
    last_outputs: Tensor | None = None
    test: float = math.nan
    seconds: float = 0.0


def run(problem: TorchProblem, trials: Sequence[Trial]) -> list[Outcome]:
    """Train as the trials say and return what came out, in their order.

    The state judged is the one with the best validation metric; its test metric is the result.
    From a loss on that is no longer finite nothing counts. A trial's outcome depends on nothing
    but the trial: not on the others that are given, nor on their order.
    """
    groups: dict[tuple[str, bool], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.arm, trial.measured), []).append(trial)
    outcomes: dict[Trial, Outcome] = {}
    for group in groups.values():
        outcomes |= zip(group, _outcomes(problem, group), strict=True)
    return [outcomes[trial] for trial in trials]


def _outcomes(problem: TorchProblem, trials: list[Trial]) -> list[Outcome]:
    """Train the trials of one arm, measured or not; who raises has that as its outcome."""
    try:
        return _train(problem, trials)
    except UsageError:
        raise
    except Exception:  # noqa: BLE001  # the model, the loss and the metric may be the user's
        failure = traceback.format_exc().strip()
    if len(trials) == 1:
        return [Outcome(failure=failure)]
    return [outcome for trial in trials for outcome in _outcomes(problem, [trial])]


def _train(problem: TorchProblem, trials: list[Trial]) -> list[Outcome]:
    activation = activations.parse(trials[0].arm)
    # Rows of one learning rate stand together: they are one parameter of the optimizer.
    ordered = sorted(trials, key=lambda trial: trial.learning_rate or 0.0)
    data = {trial.seed: _Data.of(problem, trial.seed) for trial in trials}
    runs = {trial: _start(problem, activation, trial, data[trial.seed]) for trial in ordered}
    twins = {
        trial: _twin(problem, activation, runs[trial]) for trial in ordered if _has_twin(trial)
    }
    seats = [run for trial in ordered for run in (runs[trial], twins.get(trial)) if run]
    if stack := _stack(problem, activation, seats):
        _train_together(problem, activation, stack, seats)
    else:
        for seat in seats:
            _train_alone(problem, activation, seat)
    return [_outcome(runs[trial], twins.get(trial)) for trial in trials]


def _start(problem: TorchProblem, activation: Activation, trial: Trial, data: _Data) -> _Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model = problem.model(activation)
    return _Run(trial, data, model)


def _has_twin(trial: Trial) -> bool:
    return trial.measured and trial.seed < _TWINS


def _twin(problem: TorchProblem, activation: Activation, run: _Run) -> _Run:
    """Return the same start, but for the last bit of the last matrix's largest weight."""
    twin = _start(problem, activation, run.trial, run.data)
    weight = [parameter for parameter in twin.model.parameters() if parameter.dim() > 1][-1]
    with torch.no_grad():
        place = torch.unravel_index(weight.abs().argmax(), weight.shape)
        weight[place] = torch.nextafter(weight[place], torch.full_like(weight[place], math.inf))
    return twin


def _stack(problem: TorchProblem, activation: Activation, seats: list[_Run]) -> Stack | None:
    """Return the networks of the seats as one, where they allow it; one alone becomes two."""
    first = seats[0]
    if first.data.batch % stacking.VECTOR or not problem.may_stack(first.model):
        return None
    inputs, targets = first.data.examples.batch(first.data.split.train[: first.data.batch])
    before = torch.get_rng_state()
    losses = problem.losses(first.model, inputs, targets)
    drew = not torch.equal(before, torch.get_rng_state())
    if losses is None or drew:
        return None
    models = [seat.model for seat in seats]
    if len(models) == 1:
        models.append(_start(problem, activation, first.trial, first.data).model)
    stack = Stack(models)
    for model in models:
        model.eval()  # in a chain that agrees with itself nothing asks for the mode
    return stack if stacking.agrees(stack, inputs) else None


def _train_together(
    problem: TorchProblem, activation: Activation, stack: Stack, seats: list[_Run]
) -> None:
    filled = seats + [seats[-1]] * (len(stack.models) - len(seats))
    size = seats[0].data.batch

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for orders in zip(*(run.data.epochs(run.trial.seed) for run in filled), strict=True):
            for rows in zip(
                *(torch.split(order, size * _GATHERED) for order in orders), strict=True
            ):
                pairs = [r.data.examples.batch(few) for r, few in zip(filled, rows, strict=True)]
                inputs, targets = (torch.stack(of) for of in zip(*pairs, strict=True))
                yield from zip(
                    torch.split(inputs, size, 1), torch.split(targets, size, 1), strict=True
                )

    def losses(inputs: Tensor, targets: Tensor) -> Tensor:
        of_examples = problem.losses(stack, inputs, targets)
        assert of_examples is not None  # noqa: S101  # _stack has looked
        return of_examples.mean(dim=1)

    rates = [run.trial.learning_rate for run in filled]
    different = list(dict.fromkeys(rates))
    blocks = stack.blocks([rates.count(rate) for rate in different])
    optimizers = [problem.optimizer([b], rate) for b, rate in zip(blocks, different, strict=True)]
    validation = _Validation.of(problem, stack, filled)
    steps = _Steps(batches(), losses, optimizers, validation)
    _follow(problem, activation, stack, seats, steps)


def _train_alone(problem: TorchProblem, activation: Activation, seat: _Run) -> None:
    batches = (
        seat.data.examples.batch(rows)
        for order in seat.data.epochs(seat.trial.seed)
        for rows in torch.split(order, seat.data.batch)
    )
    optimizer = problem.optimizer(seat.model.parameters(), seat.trial.learning_rate)
    steps = _Steps(batches, lambda *batch: problem.loss(seat.model, *batch).reshape(1), [optimizer])
    with torch.random.fork_rng():
        torch.manual_seed(seat.trial.seed)  # for what draws while it trains, as dropout does
        _follow(problem, activation, Alone(seat.model), [seat], steps)


class _Steps(NamedTuple):
    """What a training goes through: batches, the loss that each network has on one, optimizers."""

    batches: Iterator[tuple[Any, Any]]
    losses: Callable[[Any, Any], Tensor]
    optimizers: list[Optimizer]
    validation: "_Validation | None" = None


def _follow(
    problem: TorchProblem,
    activation: Activation,
    networks: Stack | Alone,
    runs: list[_Run],
    steps: _Steps,
) -> None:
    """Train networks, of which the first are those of the runs, and judge each in the end."""
    start = time.thread_time()
    last, look_every = problem.epochs * runs[0].data.batches, problem.look_every
    after_step = activation.begin(networks.module, last)
    first_layer = next(runs[0].model.parameters()).numel()
    path = UpdatePath(first_layer) if runs[0].trial.measured else None
    _look(problem, steps, networks, runs, 0)
    losses: list[Tensor] = []
    for step, (inputs, targets) in zip(range(1, last + 1), steps.batches, strict=False):
        loss = steps.losses(inputs, targets)
        networks.backward(loss.sum())
        if path:
            path.follow(networks.gradients)
        for optimizer in steps.optimizers:
            optimizer.step()
        after_step()
        losses.append(loss.detach())
        if step % look_every == 0 or step == last:
            _note_divergence(runs, torch.stack(losses), step)
            losses.clear()
            _look(problem, steps, networks, runs, step)
            if all(run.diverged_at for run in runs):
                break
    for row, run in enumerate(runs):
        _judge(problem, activation, networks, row, run)
        if path and run.measures:
            followed = run.diverged_at - 1 if run.diverged_at else last
            smoothness, norm = path.summary(row, followed)
            run.measures = replace(run.measures, smoothness=smoothness, first_layer_gradient=norm)
    seconds = (time.thread_time() - start) / len(runs)
    for run in runs:
        run.seconds = seconds


def _note_divergence(runs: list[_Run], losses: Tensor, step: int) -> None:
    """Note the first step at which a loss, steps by networks, is no longer finite."""
    bad = ~torch.isfinite(losses)
    if bad.any():
        for row, run in enumerate(runs):
            if run.diverged_at is None and bad[:, row].any():
                run.diverged_at = step - len(losses) + 1 + int(bad[:, row].int().argmax())


class _Validation:
    """The validation rows of all networks of a stack: one pass gives all outputs."""

    def __init__(self, problem: TorchProblem, stack: Stack, filled: list[_Run]) -> None:
        self._problem, self._stack = problem, stack
        self._count = len(filled[0].data.split.validation)
        padding = -self._count % stacking.VECTOR
        parts = [run.data.split.validation for run in filled]
        rows = [torch.cat([part, part[:1].expand(padding)]) for part in parts]
        pairs = [r.data.examples.batch(each) for r, each in zip(filled, rows, strict=True)]
        self._inputs, self._targets = (torch.stack(of) for of in zip(*pairs, strict=True))

    @classmethod
    def of(cls, problem: TorchProblem, stack: Stack, filled: list[_Run]) -> Self | None:
        """Return it, None where outputs alone are not judged, or rows differ or are too many."""
        counts = {len(run.data.split.validation) for run in filled}
        sample, _ = filled[0].data.examples.batch(filled[0].data.split.validation[:1])
        numbers = max(counts) * len(filled) * sample.numel()
        usable = problem.judges_outputs and len(counts) == 1 and numbers <= _MOST_NUMBERS
        return cls(problem, stack, filled) if usable else None

    def metrics(self) -> list[float]:
        """Return the metric of every network as it now is."""
        with torch.no_grad():
            outputs = self._stack(self._inputs)[:, : self._count]
        pairs = zip(outputs, self._targets[:, : self._count], strict=True)
        return [self._problem.judge(*pair) for pair in pairs]


def _look(
    problem: TorchProblem, steps: _Steps, networks: Stack | Alone, runs: list[_Run], step: int
) -> None:
    """Take the metric of every network that has not diverged, and keep those at their best."""
    judged = problem.metric
    metrics = steps.validation.metrics() if steps.validation else None
    for row, run in enumerate(runs):
        if run.diverged_at:
            continue
        metric = (
            metrics[row] if metrics else _score(problem, run.model, run, run.data.split.validation)
        )
        run.curve.append((step, metric))
        if run.steps_to_goal is None and judged.goal is not None:
            reached = math.isfinite(metric) and not judged.better(judged.goal, metric)
            run.steps_to_goal = step if reached else None
        if step == 0 or math.isnan(run.best) or judged.better(metric, run.best):
            run.best = metric
            networks.keep(row)


def _score(problem: TorchProblem, model: nn.Module, run: _Run, rows: Tensor) -> float:
    with samples.evaluating(model):
        return problem.score(model, run.data.examples, rows)


def _judge(
    problem: TorchProblem, activation: Activation, networks: Stack | Alone, row: int, run: _Run
) -> None:
    """Take what counts of a trained network: of the best state, or of the last of an annealed."""
    if _has_twin(run.trial):
        run.last_weights = torch.cat([p.detach().flatten() for p in run.model.parameters()])
        run.last_outputs = _outputs(run.model, run)
    if not activation.anneals:
        networks.restore(row)
    model = activation.finish(run.model)
    if activation.anneals:
        run.best = _score(problem, model, run, run.data.split.validation)
    run.test = _score(problem, model, run, run.data.split.test)
    if run.trial.measured:
        run.measures = measure(model.eval(), run.data.examples.batch(torch.cat(run.data.split))[0])


def _outputs(model: nn.Module, run: _Run) -> Tensor | None:
    with torch.no_grad():
        outputs = model.eval()(run.data.examples.batch(run.data.split.test)[0])
    return outputs if isinstance(outputs, Tensor) else None


def _outcome(run: _Run, twin: _Run | None) -> Outcome:
    return Outcome(
        validation=run.best,
        test=run.test,
        steps_to_goal=run.steps_to_goal,
        diverged_at=run.diverged_at,
        curve=tuple(run.curve),
        measures=run.measures,
        drift=_drift(run, twin) if twin else None,
        seconds=run.seconds + (twin.seconds if twin else 0.0),
    )


def _drift(run: _Run, twin: _Run) -> Drift:
    return Drift(
        weight=_largest_difference(run.last_weights, twin.last_weights),
        output=_largest_difference(run.last_outputs, twin.last_outputs),
        test=abs(run.test - twin.test),
    )


def _largest_difference(one: Tensor | None, other: Tensor | None) -> float:
    if one is None or other is None:
        return math.nan
    return float((one.double() - other.double()).abs().max())
