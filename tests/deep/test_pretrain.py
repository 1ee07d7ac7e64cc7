"""Pretraining writes a file that is found and read like published weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import invoke
from deep.backbones import build_backbone, published_state
from deep.finetune import FineTune
from deep.pretrain import pretrain
from deep.weights import find_weights, read_weights


@pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18", "densenet121"])
def test_a_published_state_builds_the_same_backbone(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    again = build_backbone(name, published_state(name, backbone))
    grey = torch.rand(1, 1, 96, 96)
    assert torch.equal(backbone.eval()(grey), again.eval()(grey))


def test_the_command_writes_weights_that_a_model_starts_from(tmp_path: Path) -> None:
    arguments = [
        "pretrain",
        "squeezenet1_0",
        "--phantom",
        "--n",
        "40",
        "--epochs",
        "1",
        "--side",
        "64",
        "--out",
        str(tmp_path),
    ]
    assert invoke(arguments) == 0
    path = find_weights("squeezenet1_0", "phantom", weights_dir=tmp_path, offline=True).file
    assert path.name == "squeezenet1_0-phantom.safetensors"
    build_backbone("squeezenet1_0", read_weights(path))
    assert invoke(arguments) == 2  # nothing is written over


def test_wrong_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["pretrain", "squeezenet1_0", "--out", str(tmp_path)]) == 2
    assert invoke(["pretrain", "squeezenet9", "--phantom", "--n", "20", "--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "neither in torchvision nor in timm" in lines[1]


def test_one_group_cannot_be_split(tmp_path: Path) -> None:
    head = FineTune("squeezenet1_0", 1, start="random", device="cpu")
    with pytest.raises(ValueError, match="at least two groups"):
        pretrain(head, np.zeros((4, 64, 64), np.uint8), np.eye(4), np.zeros(4), tmp_path / "x.safetensors", 0, {})
