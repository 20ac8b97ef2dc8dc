"""`softplus.lab.judge`: scores read in every form, paired or not, and judged."""

import math

import pytest

from softplus.lab import judging
from softplus.lab.errors import UsageError
from softplus.lab.judging import judge

SCORES = """arm,seed,score
softplus,1,92.9
softplus,2,92.7
softplus,3,92.8
relu,1,91.2
relu,2,90.8
relu,3,91.5
"""


def csv_file(folder, text):
    """Return the path of a file of that text."""
    path = folder / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_and_the_scores_by_arm_are_judged_alike(tmp_path):
    read = judge(csv_file(tmp_path, SCORES), margin=0.5, test_ratio=0.25)
    given = judge(
        {"softplus": [92.9, 92.7, 92.8], "relu": [91.2, 90.8, 91.5]}, margin=0.5, test_ratio=0.25
    )
    assert read == given
    assert read.reference == "relu"  # wherever it stands
    (verdict,) = read.verdicts
    assert (verdict.these_rows.winner, verdict.paired, verdict.runs) == ("softplus", True, (3, 3))
    assert read.notes == ()


def test_it_is_said_in_words():
    text = str(judge({"relu": [91.2, 90.8, 91.5], "softplus": [92.9, 92.7, 92.8]}, margin=0.5))
    assert "softplus against relu: softplus is better on these rows" in text
    assert "On these rows softplus is better by 1.6 (0.9 to 2.4)." in text
    assert "so the question about other rows stays open" in text


def test_the_reference_is_relu_or_the_first_or_what_is_asked_for():
    scores = {"b": [1.0, 2.0], "a": [1.5, 2.5]}
    assert judge(scores).reference == "b"
    assert judge(scores, reference="a").reference == "a"
    with pytest.raises(UsageError, match=r"unknown arm 'c'.*known: b, a"):
        judge(scores, reference="c")


def test_smaller_may_be_better():
    scores = {"relu": [0.5, 0.6, 0.55], "softplus": [0.3, 0.41, 0.36]}
    assert judge(scores).verdicts[0].these_rows.winner == "relu"
    assert judge(scores, lower_is_better=True).verdicts[0].these_rows.winner == "softplus"


def test_seeds_that_no_two_arms_share_are_unpaired_and_that_is_said(tmp_path):
    apart = (
        SCORES.replace("relu,1", "relu,7").replace("relu,2", "relu,8").replace("relu,3", "relu,9")
    )
    judged = judge(csv_file(tmp_path, apart))
    assert not judged.verdicts[0].paired
    assert "softplus and relu share no seed" in judged.notes[0]
    without = "\n".join(
        line.replace(",seed", "").replace(",1,", ",") for line in SCORES.split("\n")
    )
    without = "arm,score\nrelu,1\nrelu,2\nsoftplus,3\nsoftplus,4\n"
    judged = judge(csv_file(tmp_path, without))
    assert not judged.verdicts[0].paired
    assert "share no seed" in judged.notes[0]


def test_pairs_are_refused_on_request(tmp_path):
    judged = judge(csv_file(tmp_path, SCORES), paired_by=judging.NONE)
    assert not judged.verdicts[0].paired
    assert not any("share no" in note for note in judged.notes)


def test_several_columns_may_pair_the_runs(tmp_path):
    rows = [
        f"{arm},{seed},{fold},{len(arm)}{seed}.{fold}"
        for arm in ("relu", "softplus")
        for seed in (1, 2)
        for fold in (1, 2)
    ]
    path = csv_file(tmp_path, "\n".join(["arm,seed,fold,score", *rows]))
    assert judge(path, paired_by="seed,fold").verdicts[0].runs == (4, 4)
    with pytest.raises(UsageError, match=r"line 3: a second run of relu with seed 1; .*fold"):
        judge(path)


def test_runs_without_a_counterpart_are_left_out_and_that_is_said(tmp_path):
    judged = judge(csv_file(tmp_path, SCORES + "relu,4,91.0\n"))
    assert judged.verdicts[0].runs == (3, 3)
    assert "1 runs of softplus or relu have no counterpart" in judged.notes[0]


def test_a_run_without_a_score_has_failed(tmp_path):
    text = SCORES.replace("relu,3,91.5", "relu,3,") + "relu,4,nan\nsoftplus,4,92.1\n"
    (verdict,) = judge(csv_file(tmp_path, text)).verdicts
    assert (verdict.runs, verdict.failed) == ((2, 2), (0, 2))


class Frame:
    """What a data frame of pandas and one of polars offer."""

    def __init__(self, method):
        rows = [
            {"arm": arm, "seed": seed, "score": score}
            for arm, scores in (("relu", (1.0, 2.0)), ("gelu", (2.0, 3.5)))
            for seed, score in enumerate(scores)
        ]
        setattr(self, method, lambda *_, **__: rows)


@pytest.mark.parametrize("method", ["iter_rows", "to_dict"])
def test_data_frames_are_taken(method):
    (verdict,) = judge(Frame(method)).verdicts
    assert (verdict.runs, verdict.these_rows.interval.center) == ((2, 2), 1.25)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arm,seed\nrelu,1\n", r"no column 'score' \(it has: arm, seed\)"),
        ("name,seed,score\nrelu,1,2\n", "no column 'arm'"),
        (SCORES + "relu,4,fast\n", "line 8: the score must be a number, got 'fast'"),
        (SCORES + "relu,4,1,2\n", "line 8: more values than columns"),
        ("arm,seed,score\nrelu,1,2\n", "two or more arms are needed, got relu"),
        ("", "two or more arms are needed, got none"),
        ("arm,seed,score\nre\udcfflu,1,2\n", "cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_judged_is_one_clear_line(text, words, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=words):
        judge(path)


def test_what_is_no_table_of_scores_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        judge(tmp_path / "missing.csv")
    with pytest.raises(UsageError, match="got list"):
        judge([1.0, 2.0])
    for name, value in (("margin", -1.0), ("test_ratio", math.nan)):
        with pytest.raises(UsageError, match=f"{name} must be a positive number"):
            judge({"a": [1.0], "b": [2.0]}, **{name: value})
