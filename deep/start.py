"""A backbone before training: with published weights, or with random weights that are always the same."""

from __future__ import annotations

import torch

from deep.backbones import Backbone, build_backbone
from deep.weights import PretrainedWeights


def build_pretrained(weights: PretrainedWeights) -> Backbone:
    """Build a backbone on the CPU, ready to predict.

    Raises
    ------
    deep.weights.WeightsUnavailableError
        If its weights are not available.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of a random start
        return build_backbone(weights.backbone, weights.state()).eval()
