"""Which sites are meant: patterns of sites and of modules around them, and why the others stay."""

from torch import nn

from architectures import ResNet, vgg
from conversion_models import TEN, Linears, Straight
from softplus import Softplus, convert, find_sites


def test_patterns():
    model = ResNet(nn.ReLU)
    for options, expected in (
        ({"include": "layers.*"}, ["layers.0.relu", "layers.1.relu", "layers.2.relu"]),
        ({"exclude": "layers.*"}, ["relu"]),
        ({"include": ["relu", "layers.[01].*"], "exclude": ["*.0.*"]}, ["relu", "layers.1.relu"]),
    ):
        converted = convert(model, TEN, **options)
        assert [site.name for site in converted.conversion.sites] == expected
        for site in find_sites(model):
            module = converted.get_submodule(site.name)
            assert isinstance(module, Softplus if site.name in expected else nn.ReLU)


def test_a_pattern_may_name_the_module_that_holds_the_sites():
    model = nn.Sequential(vgg(nn.ReLU), nn.Sequential(Straight(), nn.ReLU()))
    converted = convert(model, TEN, exclude="0")
    assert [site.name for site in converted.conversion.sites] == ["1.1", "1.0.relu", "1.0.relu_1"]
    converted = convert(model, TEN, include="1.0")
    assert [site.name for site in converted.conversion.sites] == ["1.0.relu", "1.0.relu_1"]


def test_what_is_left_says_why():
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.six, self.act = nn.ReLU6(), nn.ReLU()

        def forward(self, x):
            return self.six(self.act(self.first(x).relu())).clamp(min=0)

    left = {site.name: site.left for site in convert(Model(), TEN, exclude="act").conversion.left}
    assert left == {
        "six": "ReLU6 is no ReLU: it ends at 6",
        "act": "exclude names it",
        "clamp": "a clamp at zero is seldom an activation",
    }
    left = {site.name: site.left for site in convert(Model(), TEN, include="s*").conversion.left}
    assert left == dict.fromkeys(["act", "relu", "clamp"], "include does not name it")
