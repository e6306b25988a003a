"""The optimizer of a training: what decays, and at which rate it steps."""

import pytest
import torch
from torch import nn

from training.networks import build_network
from training.schedule import make_optimizer, set_rate
from training.settings import FitSettings


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["efficientnet_lite0", "convnext_tiny", "swin_t", "vit_b_16"])
def test_weights_of_layers_decay_and_norms_biases_tables_and_tokens_do_not(name: str, optimizer: str) -> None:
    with torch.device("meta"):
        network = build_network(name, 3, from_scratch=True)
    settings = FitSettings.choose(network=name, optimizer=optimizer)
    decay = {id(p): g["weight_decay"] for g in make_optimizer(network, settings).param_groups for p in g["params"]}
    assert len(decay) == len(list(network.parameters()))
    weighed = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    attention = [m.in_proj_weight for m in network.modules() if isinstance(m, nn.MultiheadAttention)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert norms
    should = {id(parameter) for parameter in (*attention, *(module.weight for module in weighed))}
    assert {decay[key] for key in should} == {settings.weight_decay}
    assert settings.weight_decay > 0
    assert {value for key, value in decay.items() if key not in should} == {0.0}


def test_the_rate_that_is_set_is_the_one_that_every_parameter_steps_by() -> None:
    network = nn.Linear(2, 2)
    optimizer = make_optimizer(network, FitSettings(optimizer="sgd", weight_decay=0.0, lr=0.5))
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert set_rate(optimizer, 0.01) == 0.01
    optimizer.step()
    for name, parameter in network.named_parameters():
        # Nesterov's first step is 1 + momentum times the gradient.
        torch.testing.assert_close(before[name] - parameter.detach(), torch.full_like(parameter, 0.019))
