"""Grad-CAM and Eigen-CAM against cases that can be computed by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.recipes.contract import cam_target
from deep.activations import Activations
from deep.backbones import build_backbone
from deep.cam import HEAD, WHOLE, CamTarget, eigen_cam, first_component, grad_cam, randomise_weights
from deep.classifier import Classifier, Tail
from deep.finetune import FineTune
from deep.frozen import Frozen
from deep.laststages import LastStages
from deep.probe import LogisticProbe

START = {"start": "random", "device": "cpu"}


class Linear(nn.Module):
    """Two channels, the grey image and its negative, pooled by their mean, and a linear layer: Grad-CAM is known."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(1, 2, 1, bias=False)
        self.head = nn.Sequential(nn.Linear(2, len(weight), bias=False))
        self.backbone.weight = nn.Parameter(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        self.head[0].weight = nn.Parameter(weight)

    def forward(self, grey: Tensor) -> Tensor:
        return self.head(self.backbone(grey).mean(dim=(2, 3)))


def made(network: nn.Module, *, mirror: bool = False) -> CamTarget:
    return CamTarget(lambda grey: grey, None, network.backbone, network, mirror)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 6, 8), np.uint8)


def test_grad_cam_of_a_linear_network_is_its_weighted_channels(images: np.ndarray) -> None:
    network = made(Linear(torch.tensor([[3.0, 1.0], [-3.0, 1.0]])))
    grey = images.astype(np.float32)
    expected = grey / grey.max(axis=(1, 2), keepdims=True)  # 3 x - 1 x > 0 everywhere
    np.testing.assert_allclose(grad_cam(network, images, 0), expected, atol=1e-6)
    assert not grad_cam(network, images, 1).any(), "what speaks against a class is not shown"


def test_views_that_are_averaged_give_a_map_that_turns_with_the_image(images: np.ndarray) -> None:
    network = made(Linear(torch.tensor([[3.0, 1.0]])), mirror=True)
    turned = grad_cam(network, images[:, :, ::-1], 0)
    np.testing.assert_allclose(turned, grad_cam(network, images, 0)[:, :, ::-1], atol=1e-6)


def test_the_first_component_is_numpys_and_grows_with_the_activations() -> None:
    torch.manual_seed(0)
    feature_map = torch.rand(2, 5, 4, 3) * torch.rand(2, 1, 4, 3)
    found = first_component(feature_map)
    for one, found_one in zip(feature_map.numpy(), found.numpy(), strict=True):
        flat = one.reshape(5, 12).T
        along = np.abs(flat @ np.linalg.svd(flat)[2][0])
        np.testing.assert_allclose(found_one.ravel(), along - along.min(), atol=1e-4)
    torch.testing.assert_close(
        first_component(-feature_map), found
    )  # the sign is not what comes out of the decomposition
    place = int(feature_map.square().sum(dim=1)[0].argmax())
    assert int(found[0].argmax()) == place


def test_eigen_cam_stays_within_bounds_and_finds_the_one_bright_spot() -> None:
    image = np.zeros((1, 6, 8), np.uint8)
    image[0, 2, 5] = 200
    found = eigen_cam(made(Linear(torch.ones(1, 2))), image)
    assert found.shape == (1, 6, 8)
    assert np.argwhere(found[0] == 1).tolist() == [[2, 5]]
    assert found.min() == 0
    assert (found[0] > 0).sum() == 1


def test_a_regression_on_a_frozen_backbone_becomes_the_same_network() -> None:
    rng = np.random.default_rng(1)
    images, y = rng.integers(0, 256, (12, 64, 64), np.uint8), np.eye(2, dtype=np.int8)[np.arange(12) % 2]
    encoder = Frozen("squeezenet1_0", **START)
    features = encoder.encode(images)
    probe = LogisticProbe((1e-2,), device="cpu").fit(features, y, features, y, 0)
    network = cam_target([encoder], probe, mirror=False)
    assert network is not None
    assert network.classifier is not None
    with torch.no_grad():
        probability = network.classifier(network.inputs(images)).sigmoid().numpy()
    np.testing.assert_allclose(probability, probe.predict_proba(features), atol=0.03)
    found = grad_cam(network, images[:2], 0)
    assert found.shape == (2, 3, 3)
    assert np.isfinite(found).all()


def test_a_frozen_backbone_under_another_head_has_a_map_without_gradients() -> None:
    network = cam_target([Frozen("squeezenet1_0", **START)], object(), mirror=True)
    assert network is not None
    assert network.classifier is None
    with pytest.raises(ValueError, match="eigen_cam"):
        grad_cam(network, np.zeros((1, 64, 64), np.uint8), 0)
    assert cam_target([], object(), mirror=False) is None


def test_tokens_are_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, grey: Tensor) -> Tensor:
            return self.weight * grey.flatten(2)[:, :, :9, None]  # (n, channels, tokens, 1)

    monkeypatch.setattr(Frozen, "network", lambda self: Tokens())  # noqa: ARG005 - a method
    assert cam_target([Frozen("squeezenet1_0", **START)], object(), mirror=False) is None


def test_a_probe_on_several_layers_has_gradients_down_to_the_last_of_them(radiographs: np.ndarray) -> None:
    encoder = Frozen("squeezenet1_1", layers=[10, 12], **START)
    X = encoder.encode(radiographs)
    y = np.eye(2, dtype=np.int8)[np.arange(len(X)) % 2]
    head = LogisticProbe(C=[1e-2], task="multiclass", device="cpu").fit(X, y, X, y, 0)
    network = cam_target([encoder], head, mirror=False)
    assert network is not None
    assert network.classifier is not None
    with torch.inference_mode():
        logits = network.classifier(network.inputs(radiographs))
    assert np.allclose(logits.softmax(1).numpy(), head.predict_proba(X), atol=0.05)  # the encoder rounds to bfloat16
    assert grad_cam(network, radiographs[:2], 0).shape == (2, 13, 13)
    assert eigen_cam(network, radiographs[:2]).shape == (2, 13, 13)


def test_random_weights_change_the_copy_alone(images: np.ndarray) -> None:
    network = made(Linear(torch.tensor([[3.0, 1.0], [1.0, 3.0]])))
    before = grad_cam(network, images, 0)
    head, whole = network.randomised(HEAD, 1), network.randomised(WHOLE, 1)
    assert torch.equal(head.backbone.weight, network.backbone.weight)
    assert not torch.equal(head.classifier.head[0].weight, network.classifier.head[0].weight)
    assert not torch.equal(whole.backbone.weight, network.backbone.weight)
    assert whole.classifier.backbone is whole.backbone
    np.testing.assert_array_equal(grad_cam(network, images, 0), before)
    np.testing.assert_array_equal(grad_cam(network.randomised(WHOLE, 1), images, 0), grad_cam(whole, images, 0))


def test_random_weights_keep_the_spread_and_nothing_else() -> None:
    layer = nn.Linear(200, 100)
    nn.init.normal_(layer.weight, mean=0.3, std=0.7)
    before = layer.weight.detach().clone()
    randomise_weights(layer, 0)
    after = layer.weight.detach()
    assert abs(float(after.mean()) - 0.3) < 0.02
    assert abs(float(after.std()) - 0.7) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([before.ravel(), after.ravel()]))[0, 1])) < 0.03


def test_every_kind_of_trained_network_has_a_map() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8)
    tuned = FineTune("squeezenet1_0", side=48, device="cpu")
    tuned.network_ = Classifier(build_backbone("squeezenet1_0"), 3, (1,), 0, 0.0)
    last = LastStages("squeezenet1_0", 10, device="cpu")
    last.network_ = Classifier(Tail(build_backbone("squeezenet1_0"), 10), 3, (1, 2), 0, 0.0)
    for encoders, head in (([], tuned), ([Activations("squeezenet1_0", 10, **START)], last)):
        network = cam_target(encoders, head, mirror=False)
        assert network is not None
        assert network.mirror
        found = grad_cam(network, images, 1)
        assert found.shape[0] == 2
        assert found.shape[1] == found.shape[2] > 1
        assert found.max() == pytest.approx(1)
        assert head.randomise_weights(0).network_ is not head.network_
