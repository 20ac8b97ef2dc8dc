"""Networks of PyG, transformers, GPyTorch and PyTorch itself converted, with all else as it was."""

import copy

import gpytorch
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.optim.swa_utils import AveragedModel
from torch_geometric.nn import GCN, MLP, GINEConv
from torch_geometric.nn import models as graph_networks

from architectures import UNet
from peers.relus import check, image, pickled, run, saved
from softplus import Softplus, convert, find_sites


def softplus_modules(model: nn.Module) -> list[str]:
    """Return the names of the modules that are this package's Softplus."""
    return [name for name, module in model.named_modules() if isinstance(module, Softplus)]


# -- PyG -----------------------------------------------------------------------------------------


def graph() -> tuple[Tensor, Tensor]:
    """Return the features of ten nodes and the edges of a ring of them."""
    features = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    nodes = torch.arange(10)
    return features, torch.stack([nodes, nodes.roll(1)])


@pytest.mark.parametrize("act", ["relu", nn.ReLU(inplace=True), F.relu, torch.relu])
def test_a_network_of_pyg(act):
    torch.manual_seed(0)
    check(GCN(6, 8, num_layers=3, act=act), *graph(), relus=2)
    check(MLP([6, 8, 8, 2], act=act, norm=None), graph()[0], relus=2)


@pytest.mark.parametrize(
    ("build", "relus"),
    [
        (lambda: graph_networks.PMLP(6, 8, 2, num_layers=3), 2),
        (lambda: graph_networks.GraphUNet(6, 8, 2, depth=2), 4),
        (lambda: graph_networks.LINKX(10, 6, 8, 2, num_layers=2), None),
    ],
)
def test_calls_in_networks_of_pyg(build, relus):
    torch.manual_seed(0)
    check(build(), *graph(), relus=relus)


class Messages(nn.Module):
    """A convolution whose messages are a ReLU, in a method that code written by PyG calls."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = GINEConv(nn.Linear(6, 4), edge_dim=2)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.convolution(x, edges, torch.ones(edges.shape[1], 2))


def test_a_message_of_pyg():
    torch.manual_seed(0)
    converted = check(Messages(), *graph(), relus=1)
    check(Messages(), *graph(), relus=1, sample=graph())
    torch.testing.assert_close(
        run(copy.deepcopy(converted), *graph())[0], run(converted, *graph())[0], rtol=0, atol=0
    )


# -- transformers --------------------------------------------------------------------------------

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
TOKENS = torch.tensor([[2, 7, 11, 13]])


def opt() -> transformers.PreTrainedModel:
    """Return OPT, whose activation is ReLU, with a head that generates."""
    torch.manual_seed(0)
    config = transformers.OPTConfig(**SMALL, ffn_dim=32, word_embed_proj_dim=16)
    return transformers.OPTForCausalLM(config)


def bert() -> transformers.PreTrainedModel:
    """Return BERT with ReLU."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SMALL, intermediate_size=32, hidden_act="relu")
    return transformers.BertModel(config)


def test_an_opt_that_generates():
    model = opt()
    converted = check(model, TOKENS, relus=2)
    options = {"max_new_tokens": 6, "do_sample": False}
    generated = model.generate(TOKENS, **options)
    assert torch.equal(converted.generate(TOKENS, **options), generated)
    smooth = convert(model, {"relu": Softplus(beta=5)})
    assert len(smooth.conversion.sites) == 2
    assert smooth.generate(TOKENS, **options).shape == generated.shape


def test_a_bert_and_what_its_tokenizer_puts_out():
    check(bert(), TOKENS, relus=2)
    check(bert(), TOKENS, relus=2, sample=transformers.BatchEncoding({"input_ids": TOKENS}))


def test_a_model_of_transformers_changes_no_conversion_after_it():
    before = softplus_modules(convert(UNet(), {"relu": Softplus()}))
    for build in (bert, opt):  # transformers sets a method on nn.Module itself
        build()
        assert softplus_modules(convert(UNet(), {"relu": Softplus()})) == before
        check(UNet(), image(), relus=8)
        check(bert(), TOKENS, relus=2)
        check(opt(), TOKENS, relus=2)
    assert len(before) == 8


def test_a_duration_of_speech_is_clamped_at_0():
    torch.manual_seed(0)
    config = transformers.FastSpeech2ConformerConfig(
        hidden_size=16,
        vocab_size=50,
        num_mel_bins=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_linear_units=32,
        decoder_linear_units=32,
        duration_predictor_channels=8,
        energy_predictor_channels=8,
        pitch_predictor_channels=8,
        speech_decoder_postnet_units=8,
    )
    model = transformers.FastSpeech2ConformerModel(config)
    check(model, TOKENS)
    smooth = convert(model, {"relu": Softplus(beta=0.1)})
    smooth.duration_predictor.linear = Durations()
    assert smooth(TOKENS).duration_outputs.tolist() == [[0, 0, 2, 6]]
    (clamp,) = [site for site in find_sites(model) if "clamp" in site.spelling]
    assert clamp.left
    assert clamp.name not in {site.name for site in smooth.conversion.sites}


class Durations(nn.Module):
    """Predicts, of log(1 + duration), some values of which two are below 0."""

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.log1p(torch.tensor([-0.9, -0.6, 2, 6]))[:, None].expand(*hidden.shape[:-1], 1)


# -- GPyTorch ------------------------------------------------------------------------------------


class DeepKernel(gpytorch.models.ExactGP):
    """A Gaussian process whose kernel sees what a network makes of the inputs."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
        self.extractor = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        self.mean = gpytorch.means.ConstantMean()
        self.covariance = gpytorch.kernels.RBFKernel()

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        features = self.extractor(x)
        return gpytorch.distributions.MultivariateNormal(
            self.mean(features), self.covariance(features)
        )


@pytest.mark.parametrize("sampled", [False, True])
def test_a_deep_kernel_of_gpytorch_is_1_on_its_diagonal(sampled):
    torch.manual_seed(0)
    x = torch.randn(12, 3)
    model = DeepKernel(x, x.sum(1)).eval()
    sample = torch.randn(5, 3) if sampled else None
    converted = convert(model, {"relu": Softplus()}, sample=sample).train()
    assert [site.name for site in converted.conversion.sites] == ["extractor.1"]
    covariance = converted(x).covariance_matrix
    assert torch.equal(covariance.diagonal(), torch.ones(12))
    features = converted.extractor(x)
    squares = (features[:, None] - features).square().sum(-1)
    expected = torch.exp(-squares / (2 * model.covariance.lengthscale**2))
    torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-5)


# -- nn.Transformer ------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", F.relu, nn.ReLU()])
@pytest.mark.parametrize(
    "way",
    [copy.deepcopy, pickled, saved, AveragedModel],
    ids=["deepcopy", "pickle", "save", "average"],
)
def test_a_transformer_stays_converted(way, activation):
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 2, 2, 16, activation=activation, batch_first=True)
    inputs = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    converted = check(model, *inputs, relus=4)
    found, operators = run(way(converted), *inputs)
    assert operators.relus == 0
    torch.testing.assert_close(found, run(model, *inputs)[0], rtol=0, atol=0)
    smooth = convert(model, {"relu": Softplus(beta=2)}).eval()
    other = way(smooth).eval()
    assert len(softplus_modules(other)) == 4
    expected, _ = run(smooth, *inputs)
    with torch.no_grad():  # the layers' fast path, which knows ReLU alone
        torch.testing.assert_close([other(*inputs)], expected, rtol=1e-5, atol=1e-6)
