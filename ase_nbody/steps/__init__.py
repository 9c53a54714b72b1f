"""Networks as lists of steps, each described once, and the walkers that evaluate them."""

from ase_nbody.steps.activate import Activate, ActivationFunction
from ase_nbody.steps.contract import Contract
from ase_nbody.steps.contract_symmetric import ContractSymmetric
from ase_nbody.steps.description import Description, Step
from ase_nbody.steps.divide import Divide
from ase_nbody.steps.elements import Embed, ScaleByElement
from ase_nbody.steps.mix import Mix, MixByElement
from ase_nbody.steps.product import Product
from ase_nbody.steps.readout import Readout
from ase_nbody.steps.state_irreps import Block, StateIrreps, state_irreps
from ase_nbody.steps.weights import Radial, StepWeights

__all__ = [
    "Activate",
    "ActivationFunction",
    "Block",
    "Contract",
    "ContractSymmetric",
    "Description",
    "Divide",
    "Embed",
    "Mix",
    "MixByElement",
    "Product",
    "Radial",
    "Readout",
    "ScaleByElement",
    "StateIrreps",
    "Step",
    "StepWeights",
    "state_irreps",
]
