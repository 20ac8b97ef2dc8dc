"""Networks of torchvision, timm and MONAI converted: every ReLU, no clamp, all else as it was."""

import copy

import pytest
import timm
import torch
import torchvision
from monai.networks.nets import SegResNet
from torchvision.models import quantization
from torchvision.models.detection.image_list import ImageList

from peers.relus import check, image, pickled, run, saved
from softplus import Softplus, convert, harden


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5)


def test_a_resnet(resnet):
    check(resnet, image(), relus=17)
    converted = convert(resnet, {"relu": Softplus(beta=10)})
    assert len(converted.conversion.sites) == 9  # each block calls its own twice
    assert isinstance(converted, torchvision.models.ResNet)
    assert converted.state_dict().keys() == resnet.state_dict().keys()


@pytest.mark.parametrize("way", [copy.deepcopy, pickled, saved, torch.fx.symbolic_trace])
@pytest.mark.parametrize("name", ["resnet18", "densenet121"])  # modules; and a call in the source
def test_a_converted_network_is_copied_and_traced(name, way):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=5)
    converted = convert(model, {"relu": Softplus(beta=10)})
    found, operators = run(way(converted), image())
    assert operators.relus == 0
    torch.testing.assert_close(found, run(converted, image())[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    "way",
    [
        lambda model: torch.compile(model, backend="aot_eager", fullgraph=True),
        lambda model: torch.export.export(model, (image(),)).module(),
    ],
    ids=["compile", "export"],
)
def test_a_converted_resnet_is_compiled_and_exported(resnet, way):
    converted = convert(resnet, {"relu": Softplus(beta=10)}).eval()
    with torch.no_grad():
        torch.testing.assert_close(way(converted)(image()), converted(image()))


def test_a_state_dict_fits_before_and_after(resnet):
    converted = convert(resnet, {"relu": Softplus(beta=10)})
    other = convert(torchvision.models.resnet18(num_classes=5), {"relu": Softplus(beta=10)})
    other.load_state_dict(converted.state_dict())
    torch.testing.assert_close(run(other, image())[0], run(converted, image())[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_network_hardened_is_what_it_was(name):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=5)
    expected, before = run(model, image())
    hardened = harden(convert(model, {"relu": Softplus(beta=1e4)}), sample=image())
    assert hardened.difference < 1e-2
    found, after = run(hardened, image())
    assert after.relus == before.relus
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "relus"), [("resnet18", 17), ("resnet50", 49)])
def test_a_quantizable_resnet(name, relus):
    # The last ReLU of a block is in FloatFunctional.add_relu.
    torch.manual_seed(0)
    check(getattr(quantization, name)(quantize=False, num_classes=5), image(), relus=relus)


@pytest.mark.parametrize(
    ("name", "size", "relus"),
    [("googlenet", 64, 57), ("inception_v3", 96, 94), ("densenet121", 64, 121)],
)
def test_calls_in_the_source_of_torchvision(name, size, relus):
    torch.manual_seed(0)
    options = {} if name == "densenet121" else {"init_weights": False, "aux_logits": False}
    model = torchvision.models.get_model(name, num_classes=5, **options)
    check(model, image(size), relus=relus)


DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": {"min_size": 64, "max_size": 96},
    "retinanet_resnet50_fpn": {"min_size": 64, "max_size": 96, "score_thresh": 0.0},
    "fcos_resnet50_fpn": {"min_size": 64, "max_size": 96, "score_thresh": 0.0},
    "ssdlite320_mobilenet_v3_large": {},
}


def detector(name):
    """Return a detector of two kinds of things."""
    torch.manual_seed(0)
    options = {"weights": None, "weights_backbone": None, "num_classes": 3, **DETECTORS[name]}
    return torchvision.models.get_model(name, **options)


@pytest.fixture
def eager():
    """Let nothing be compiled: torchvision's way without its operators is, which takes minutes."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_finds_what_it_found(name):
    model, pictures = detector(name), list(image(96))
    (boxes, *_), operators = run(model, pictures)
    assert len(boxes) > 0
    assert operators.clamps > 0
    check(model, pictures)
    check(model, pictures, sample=(pictures,))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("sample", [None, (list(image(96)),)], ids=["read", "sample"])
def test_a_detector_keeps_its_geometry(sample):
    model = detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    converted = convert(model, {"relu": Softplus()}, sample=sample)
    assert {site.spelling for site in converted.conversion.sites} == {"nn.ReLU", "F.relu"}
    meeting_in_a_corner = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[1.0, 1, 2, 2]])
    assert converted.roi_heads.box_similarity(*meeting_in_a_corner).item() == 0
    images = ImageList(image(96), [(96, 96)] * 2)
    features = [torch.zeros(2, 8, size, size) for size in (6, 6, 3)]
    truth = [torch.tensor([[8.0, 8, 60, 60], [0, 0, 30, 90]])] * 2
    labels = [torch.tensor([1, 2])] * 2
    found = []
    for each in (model, converted):
        anchors = each.rpn.anchor_generator(images, features)
        matched = each.rpn.assign_targets_to_anchors(anchors, [{"boxes": box} for box in truth])
        proposals = each.roi_heads.assign_targets_to_proposals(anchors, truth, labels)
        found.append((anchors, matched, proposals))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "size", "relus"),
    [
        ("tf_mobilenetv3_small_minimal_100", 65, 24),  # pads "same", and here both sides unlike
        ("resnet10t", 64, 11),
        ("mobilevitv2_050", 64, 9),  # calls F.relu in its attention, and SiLU elsewhere
    ],
)
def test_a_network_of_timm(name, size, relus):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5)
    check(model, image(size), relus=relus)
    converted = check(model, image(size), relus=relus, sample=image(size))
    assert {site.spelling for site in converted.conversion.sites} <= {"nn.ReLU", "F.relu"}


@pytest.mark.parametrize("act", ["relu", ("relu", {"inplace": True})])
def test_monai_s_segresnet(act):
    torch.manual_seed(0)
    model = SegResNet(spatial_dims=2, in_channels=3, init_filters=8, act=act)
    converted = check(model, image(32))
    assert converted.act == act
