"""Tables as problems, `softplus.lab.problems.tables`: what is detected, done, said and refused."""

import pickle

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from softplus.lab import activations, problems
from softplus.lab.errors import UsageError
from softplus.lab.problems import reading, tables, targets
from softplus.lab.trials import Trial

RELU = activations.parse("relu")


def load(path, target="y", **options):
    """Return the problem of a table, and its notes in one text."""
    problem = problems.load(path, target=target, **options)
    return problem, "; ".join(problem.notes)


def test_what_each_column_is_and_what_was_done_is_said(frame, write):
    problem, notes = load(write(frame), ignored=["price"])
    assert "target y: 2 classes" in notes
    assert "colour (3)" in notes
    assert "half (50 rows)" in notes
    for name, why in {
        "id": "a name of the rows",
        "same": "always the same",
        "name": "200 different texts",
        "price": "ignored, as asked",
    }.items():
        assert f"{name} ({why}" in notes
    # x, half, flag, day, group; three colours; half is missing
    assert problem.data.columns == 5 + 3 + 1
    assert problem.rows == 200
    assert problem.parts == {"train": 120, "validation": 40, "test": 40}
    assert problem.test_ratio == pytest.approx(1 / 3)


def test_the_same_table_from_csv_parquet_and_npz_gives_the_same_numbers(frame, write, tmp_path):
    numbers = frame.select("x", "half", "price").with_columns(
        pl.col("half").fill_null(float("nan"))
    )
    np.savez(tmp_path / "t.npz", **{name: numbers[name].to_numpy() for name in numbers.columns})
    loaded = [
        load(path, "price")[0].data
        for path in (write(numbers), write(numbers, "t.parquet"), tmp_path / "t.npz")
    ]
    for other in loaded[1:]:
        assert torch.equal(loaded[0].inputs.nan_to_num(-9), other.inputs.nan_to_num(-9))
        assert torch.equal(loaded[0].targets, other.targets)


def test_npz_arrays_of_several_dimensions_are_columns(tmp_path):
    images = np.random.default_rng(0).normal(size=(60, 3, 4))
    np.savez(tmp_path / "t.npz", image=images, digit=np.arange(60) % 4)
    problem, notes = load(tmp_path / "t.npz", "digit")
    assert problem.data.columns == 12
    assert "4 classes" in notes


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_spellings_of_missing_are_understood(separator, write):
    rows = "\n".join(
        f"{n}{separator}{'?' if n == 3 else n * 2}{separator}{n % 2}" for n in range(40)
    )
    problem, notes = load(write(f" a {separator}b{separator}y\n{rows}\n"))
    assert problem.data.columns == 3
    assert "b (1 rows)" in notes


def test_missing_values_are_the_median_of_the_training_rows_and_are_marked(frame, write):
    problem, _ = load(write(frame.select("half", "y")))
    train = problem.split(0).train
    prepared = problem.examples(train).inputs
    missing = problem.data.inputs[:, 0].isnan()
    assert missing.sum() == 50
    assert torch.equal(prepared[:, 1], missing.float())
    assert len(set(prepared[missing, 0].tolist())) == 1
    known = problem.data.inputs[train, 0]
    filled = torch.where(known.isnan(), known.nanmedian(), known)
    expected = (known.nanmedian() - filled.mean()) / filled.std(correction=0)
    assert prepared[missing, 0][0] == pytest.approx(expected.item(), rel=1e-5)
    assert torch.isfinite(prepared).all()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"] * 30, "classification"),
        ([True, False] * 30, "classification"),
        ([0, 1, 2] * 20, "classification"),
        ([0.5, 1.5] * 30, "classification"),
        ([0.5, 1.5, 2.5] * 20, "regression"),
        (list(range(60)), "regression"),
    ],
)
def test_the_kind_of_the_target_is_detected(values, kind):
    target = targets.of(pl.Series("y", values), "file")
    assert target.classes == (kind == "classification")


def test_the_kind_can_be_said():
    assert not targets.of(pl.Series("y", [0, 1, 2] * 20), "file", "regression").classes
    assert targets.of(pl.Series("y", list(range(6)) * 5), "file", "classification").outputs == 6


def test_a_strictly_positive_target_has_positive_outputs_and_others_do_not():
    positive = targets.of(pl.Series("y", np.linspace(0.1, 50, 60)), "file")
    assert "strictly positive" in positive.notes[0]
    assert (positive.head()(torch.linspace(-90, 90, 50)) >= 0).all()
    signed = targets.of(pl.Series("y", np.linspace(-3, 50, 60)), "file")
    assert "strictly positive" not in signed.notes[0]
    assert signed.head()(torch.tensor(-90.0)) < 0
    assert signed.metric.margin == pytest.approx(0.02 * np.linspace(-3, 50, 60).std(), rel=0.05)


def test_a_lopsided_target_is_judged_by_balanced_accuracy():
    target = targets.of(pl.Series("y", ["common"] * 95 + ["rare"] * 5), "file")
    assert target.metric.name == "balanced accuracy"
    always_common = torch.tensor([[1.0, 0.0]]).expand(100, 2)
    assert target.score(always_common, target.values) == 50
    losses = target.losses(torch.zeros(100, 2), target.values)
    assert losses[:95].sum() == pytest.approx(losses[95:].sum().item())


def test_classes_have_the_same_share_in_every_part(frame, write):
    problem, _ = load(write(frame))
    shares = [problem.data.targets[rows].double().mean() for rows in problem.split(5)]
    assert max(shares) - min(shares) < 0.03


def test_a_group_is_in_one_part_only(frame, write):
    problem, notes = load(write(frame), group="group")
    assert "none of the 20 groups of group" in notes
    for seed in range(3):
        parts = [set(frame["group"].to_numpy()[rows]) for rows in problem.split(seed)]
        assert all(parts)
        assert sum(map(len, parts)) == 20
    assert problem.split(0).test.tolist() != problem.split(1).test.tolist()


def test_the_test_is_later_than_the_training_and_answers_for_no_other_rows(frame, write):
    shuffled = frame.sample(fraction=1, shuffle=True, seed=0)
    problem, notes = load(write(shuffled), time="day")
    days = shuffled["day"].to_numpy()
    train, validation, test = (days[rows] for rows in problem.split(0))
    assert train.max() < validation.min()
    assert validation.max() < test.min()
    assert problem.test_ratio is None
    assert "the same for every seed" in notes
    assert problem.split(1).test.tolist() == problem.split(0).test.tolist()


def test_rows_of_one_time_stay_together(frame, write):
    problem, _ = load(write(frame), time="group")
    parts = [set(frame["group"].to_numpy()[rows]) for rows in problem.split(0)]
    assert sum(map(len, parts)) == 20


def test_rows_without_a_target_are_left_out_and_counted(frame, write):
    some = frame.with_columns(pl.when(pl.col("id") > 1010).then("y").alias("y"))
    problem, notes = load(write(some))
    assert problem.rows == 189
    assert "11 rows without a y left out" in notes


def test_the_target_that_time_is_counted_to_is_what_a_linear_model_reaches(frame, write):
    metric = load(write(frame))[0].metric
    assert 70 < metric.goal < 100
    price = load(write(frame), "price")[0].metric
    assert 0 < price.goal < frame["price"].std() + price.margin


def test_more_rows_get_larger_batches_and_fewer_epochs(frame, write):
    small, _ = load(write(frame.select("x", "y")))
    large, _ = load(write(pl.concat([frame.select("x", "y")] * 100)))
    assert small.batch_size < large.batch_size
    assert small.epochs > large.epochs
    assert small.width < large.width
    assert small.seeds > large.seeds
    assert small.steps / 3 < large.steps < small.steps * 3
    assert problems.load(small.source.path, target="y", epochs=3, width=5).epochs == 3


def test_a_network_learns_the_table(frame, write):
    problem, _ = load(write(frame), ignored=["price"])
    (outcome,) = problem.run([Trial("relu", 1e-2, 0, measured=False)])
    assert outcome.test > 80
    assert isinstance(problem.model(RELU), nn.Sequential)


def test_a_table_is_known_by_its_contents_and_travels_small(frame, write):
    problem, _ = load(write(frame))
    moved, _ = load(write(frame, "other.csv"))
    assert problem.identity == moved.identity
    assert load(write(frame.head(150), "third.csv"))[0].identity != problem.identity
    assert load(write(frame), ignored=["x"])[0].identity != problem.identity
    assert len(pickle.dumps(problem)) < 5000
    assert pickle.loads(pickle.dumps(problem)) == problem  # noqa: S301  # our own


def test_a_file_that_changes_during_a_study_is_refused(frame, write):
    path = write(frame)
    problem, _ = load(path)
    write(frame.head(100))
    tables._load.cache_clear()
    with pytest.raises(UsageError, match="has changed since the study began"):
        problem.split(0)


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("a,y\n1,2\n", {"target": None}, ["needs --target", "one of a, y"]),
        ("a,y\n1,2\n", {"target": "yy"}, ["unknown column", "--target", "did you mean y?"]),
        ("a,y\n1,2\n", {"group": "g"}, ["unknown column", "--group", "'g'"]),
        ("a,y\n", {}, ["no rows"]),
        ("1,2\n3,4\n", {"target": "2"}, ["no header line"]),
        ("a,y\n" + "1,2\n" * 9, {}, ["9 rows", "25 are the fewest"]),
        ("a,y\n" + "1,2\n" * 30, {}, ["target 'y'", "2 in every row"]),
        ("a,y\n" + "1,x\n2,z\n" * 20 + "1,w\n", {}, ["class 'w'", "has 1 row,", "needs 3"]),
        ("a,y\n" + "1,x\n2,z\n" * 20 + "oops,x\n", {}, ["column 'a'", "'oops' in row 41"]),
        ("a,y\n" + "x,1.5\nz,2\nw,3.5\n" * 20 + "x,?!\n", {}, ["'y'", "'?!'", "--kind"]),
        ("a,y\n" + "1,x\n1,z\n" * 20, {}, ["no column", "a: always the same"]),
        ("a,y\n" + "inf,x\n1,z\n" * 20, {}, ["column 'a'", "infinite in 20 rows", "first: row 1"]),
        ("a,y\n" + "1,inf\n1,2.5\n0,3.5\n" * 20, {}, ["target 'y'", "infinite in row 1"]),
        ("a,y\n" + "1,x\n2,z\n" * 20, {"kind": "regresion"}, ["did you mean regression?"]),
        ("a,y\n" + "1,x\n2,z\n" * 20, {"kind": "regression"}, ["String", "takes numbers"]),
        ("a,t,y\n" + "1,0,x\n2,0,z\n" * 20, {"time": "t"}, ["--time t", "too many rows of one"]),
        ("a,t,y\n" + "1,q,x\n2,r,z\n" * 20, {"time": "t"}, ["--time t", "String", "dates"]),
        ("a,g,y\n" + "1,0,x\n2,1,z\n" * 20, {"group": "g"}, ["--group g has 2 groups", "10"]),
        ("a,y\n1,2\n", {"ignored": ["y"]}, ["--target y is in --ignore too"]),
        ("a,g,y\n1,1,1\n", {"group": "g", "time": "g"}, ["--group and --time", "one of them"]),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(content, options, words, write):
    with pytest.raises(UsageError) as error:
        problems.load(write(content), **{"target": "y", **options})
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_many_classes_in_few_rows_are_refused(write):
    rows = "".join(f"{n},class {n % 20}\n" for n in range(60))
    with pytest.raises(UsageError, match="20 classes in 60 rows"):
        load(write(f"a,y\n{rows}"))


def test_files_that_are_no_tables_are_refused(tmp_path, write):
    for name in ("missing.csv", "broken.parquet", "broken.npz"):
        if name.startswith("broken"):
            (tmp_path / name).write_text("this is text")
        with pytest.raises(UsageError, match=f"{name} (is no file|cannot be read)"):
            load(tmp_path / name)
    np.savez(tmp_path / "t.npz", a=np.zeros(3), y=np.zeros(4))
    with pytest.raises(UsageError, match=r"differ in length \(a 3, y 4\)"):
        load(tmp_path / "t.npz")
    np.savez(tmp_path / "o.npz", a=np.array([{}, {}], dtype=object))
    with pytest.raises(UsageError, match="cannot be read as NPZ"):
        load(tmp_path / "o.npz", "a")
    lists = pl.DataFrame({"a": [[1, 2], [3]], "y": [1, 2]})
    with pytest.raises(UsageError, match=r"column 'a' .* --ignore"):
        load(write(lists, "t.parquet"))
    longer = pl.DataFrame({"a": [[1]] * 40, "b": range(40), "y": [0.5, 1.5] * 20})
    assert load(write(longer, "t.parquet"), ignored=["a"])[0].rows == 40


def test_options_for_tables_are_refused_elsewhere():
    for options in ({"target": "y"}, {"ignored": ["a"]}):
        with pytest.raises(UsageError, match=r"is for a table, and digits is none"):
            problems.load("digits", **options)
    with pytest.raises(UsageError, match=r"data.txt is no task: give one of digits"):
        problems.load("data.txt")


def test_the_header_of_many_columns_is_shortened():
    wide = pl.DataFrame({f"c{index}": [0] for index in range(50)})
    assert reading.header_text(wide).endswith("c19 and 30 more")
