"""torch.compile with Inductor: functions that take functions, attention's score_mod among them."""

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._higher_order_ops import associative_scan, map, scan, while_loop  # noqa: A004
from torch._inductor import config
from torch._inductor.utils import fresh_cache
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils import _pytree

from calls import CALLS, close, normal, quickly
from compiling import nothing_compiled_before, quiet  # noqa: F401 -- a fixture
from softplus import Softplus, inverse_softplus, logsigmoid, shifted_softplus, softplus

pytestmark = [*quiet, pytest.mark.filterwarnings("ignore:flex_attention called without")]

BIAS = nn.Parameter(normal(2, scale=1))
MODULE = Softplus(2.0)
HEADS = normal(2, scale=1).abs() + 0.5

SCORE_MODS = {
    "softplus": lambda score, *_: softplus(score),
    "beta": lambda score, *_: score - softplus(score, 2.0),
    "threshold": lambda score, *_: softplus(score, 1.5, 2.0),
    "logsigmoid": lambda score, *_: logsigmoid(score),
    "shifted": lambda score, *_: shifted_softplus(score),
    "next to zero": lambda score, *_: 1e3 * shifted_softplus(score * 1e-4),
    "inverse": lambda score, *_: inverse_softplus(score * score + 0.2),
    "module": lambda score, *_: MODULE(score),
    "learned bias": lambda score, _, head, *__: softplus(score + BIAS[head]) * BIAS[head],
    "beta of a head": lambda score, _, head, *__: softplus(score, HEADS[head]),
    "distance": lambda score, _, __, query, key: score - softplus((query - key).abs() * 0.1),
}


def attention(query: Tensor, score_mod, **options) -> Tensor:
    return flex_attention(query, query.sin(), query.cos(), score_mod=score_mod, **options)


@pytest.mark.parametrize("score_mod", quickly(SCORE_MODS, "learned bias"))
@torch.no_grad()  # PyTorch has no flex_attention with grad on the CPU
def test_a_score_mod(score_mod):
    query = normal(1, 2, 64, 8, scale=1)
    assert close(torch.compile(attention)(query, score_mod), attention(query, score_mod))


# With dynamic=True PyTorch takes floats of modules for variables, and the definition's constants,
# and hands a score_mod none.
WITHOUT_FLOATS = {n: mod for n, mod in SCORE_MODS.items() if n not in ("inverse", "module")}


@pytest.mark.parametrize("score_mod", quickly(WITHOUT_FLOATS, "softplus"))
@torch.no_grad()
def test_a_score_mod_with_a_block_mask_and_dynamic_shapes(score_mod):
    compiled = torch.compile(attention, dynamic=True, fullgraph=True)
    for length in (64, 96):
        mask = create_block_mask(
            lambda _, __, query, key: query >= key, None, None, length, length, device="cpu"
        )
        query = normal(1, 2, length, 8, scale=1)
        results = [call(query, score_mod, block_mask=mask) for call in (compiled, attention)]
        assert close(*results)


@pytest.mark.slow
@torch.no_grad()
def test_a_score_mod_in_half_precision():
    query = normal(1, 2, 64, 16, dtype=torch.bfloat16, scale=1)
    results = [call(query, SCORE_MODS["beta"]) for call in (torch.compile(attention), attention)]
    torch.testing.assert_close(*results)


@pytest.mark.slow
@torch.no_grad()
def test_a_score_mod_that_is_infinite():
    """A masked score: no NaN comes of it."""
    query = normal(1, 2, 64, 8, scale=1)

    def masked(score: Tensor, _: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return -softplus(torch.where(query >= key, -score, float("inf")))

    assert close(torch.compile(attention)(query, masked), attention(query, masked))


def scanned(call, x: Tensor) -> tuple[Tensor, Tensor]:
    return scan(lambda carry, row: (carry * 0.5 + call(row), call(carry * row)), x[0] * 0, x)


def searched(call, x: Tensor) -> Tensor:
    return while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, call(y)), (torch.tensor(0), x))[1]


HIGHER_ORDER = {
    "scan": scanned,
    "associative_scan": lambda call, x: associative_scan(
        lambda a, b: call(a + b), x, dim=0, combine_mode="generic"
    ),
    "cond": lambda call, x: torch.cond(x.sum() > 0, call, lambda x: call(-x) * 2, (x,)),
    "while_loop": searched,
    "map": lambda call, x: map(lambda row: call(row) * 2, x),
    "no dimensions": lambda call, x: call(x.sum()) * call(x[0, 0]) * x,
}


WAYS = {name: (CALLS[name], None) for name in ("softplus", "tensor beta", "shifted", "module")}
# With dynamic=True PyTorch hands these functions no float of a module, nor of a closure.
WAYS["dynamic"] = (CALLS["softplus"], True)


@pytest.mark.parametrize("way", quickly(WAYS, "softplus"))
@pytest.mark.parametrize("function", HIGHER_ORDER.values(), ids=HIGHER_ORDER.keys())
def test_a_higher_order_function(function, way):
    call, dynamic = way
    x = normal(5, 3)
    compiled = torch.compile(function, fullgraph=True, dynamic=dynamic)
    for leaf in (x.requires_grad_(), -x.detach().requires_grad_()):
        results = [_pytree.tree_leaves(each(call, leaf)) for each in (compiled, function)]
        gradients = [torch.autograd.grad(sum(y.sum() for y in ys), leaf)[0] for ys in results]
        for got, wanted in zip(*results, strict=True):
            assert close(got, wanted)
        assert close(*gradients)


def test_the_caches_on_disk_see_a_change_of_the_rules():
    def misses() -> int:
        torch._dynamo.reset()
        before = counters["inductor"]["fxgraph_cache_miss"]
        x = normal(9)
        assert close(torch.compile(lambda x: softplus(x) * 2)(x), softplus(x) * 2)
        return counters["inductor"]["fxgraph_cache_miss"] - before

    with fresh_cache():
        assert [misses(), misses()] == [1, 0]
        keys = config.unsafe_marked_cacheable_functions
        changed = {name: key + "x" for name, key in keys.items()}
        assert changed
        with config.patch(unsafe_marked_cacheable_functions=changed):
            assert misses() == 1
