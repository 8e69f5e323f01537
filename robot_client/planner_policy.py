"""One control step by planning: filter the observation, plan from there, act."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from robot_client.actor_policy import Extras, GraphPolicy, Graphs
from robot_client.bundle import Manifest, Planning, PlanSettings
from robot_client.clock import Clock
from robot_client.errors import BundleError
from robot_client.planning.model import Actions, Floats, Model, State
from robot_client.planning.planner import Decision, Memory, Planner
from robot_client.ports import Arrays, Carry
from robot_client.robot import Action
from robot_client.schema import ActionSpace, Source

PLAN = "plan/"  # of the planner's names in `Carry.state`


class PlannerPolicy(GraphPolicy):
    """Plans with the graphs `filter` and `imagine`, and with `propose` and `value` if given.

    What the planner remembers goes with the carry under `plan/...`, and with it how the last
    action came about: `plan/candidates` and `plan/iterations` done, and the `plan/expected` return.

    Args:
        manifest: with planning.
        graphs: has the graphs that are named.
        names: of the graphs to plan with.
        action_space: the robot's. ValueError if a planner cannot use it.
        settings: how to plan.
        clock: of the budget.
        budget_s: seconds from the beginning of a step to its action; None is no limit.
        task: name of the robot's task.
    """

    source = Source.PLANNER

    def __init__(
        self,
        manifest: Manifest,
        graphs: Graphs,
        names: Collection[str],
        action_space: ActionSpace,
        settings: PlanSettings,
        clock: Clock,
        budget_s: float | None,
        task: str = "",
    ) -> None:
        super().__init__(manifest, graphs, action_space, task)
        assert manifest.planning is not None, manifest
        if not manifest.signature.carry:
            raise BundleError("signature: there is no carry to imagine from")
        clashes = [k for k in manifest.signature.carry if k.startswith(PLAN)]
        if clashes:
            raise BundleError(f"signature: the carry {clashes} is named like the planner's own")
        self._actions, self._settings = Actions.of(action_space), settings
        model = graph_model(graphs, names, manifest.planning, [*manifest.signature.carry])
        self._planner = Planner(model, self._actions, settings)
        self._clock, self._budget_s = clock, budget_s
        self._pace = 0.0  # of this machine, measured: a new episode need not do that again

    def init(self) -> Carry:
        """A carry of zeros, and no plan."""
        blank = super().init()
        return Carry({**blank.state, **_to_arrays(self._planner.fresh())}, blank.prev_action)

    def step(
        self, carry: Carry, obs: Arrays, is_first: bool, rng: np.random.Generator, explore: bool
    ) -> tuple[Action, Carry, Extras]:
        """Plan an action; see `robot_client.actor_policy.ActorPolicy.step`.

        Without exploration the action is the plan's, but candidates and imagination are random
        all the same: equal states of `rng` give equal actions if there is no budget.
        """
        began = self._clock.monotonic()
        deadline = None if self._budget_s is None else began + self._budget_s
        _, state, extras = self.observe("filter", carry, obs, is_first, rng, explore)
        _check_finite(state)
        memory = self._planner.fresh(self._pace) if is_first else _from_arrays(carry.state)
        decision = self._planner.decide(state, memory, rng, self._clock, deadline)
        self._pace = decision.memory.pace
        if decision.candidates and not np.isfinite(decision.expected):
            raise BundleError("the model imagines no future that is finite")
        noisy = self._noisy(decision.plan[0], rng)  # drawn always, as other noise is
        action = self._actions.decode(noisy if explore else decision.plan[0])
        arrays = _to_arrays(decision.memory) | _report(decision)
        return action, Carry(state | arrays, action), extras

    def _noisy(self, action: Floats, rng: np.random.Generator) -> Floats:
        """(A,) with PlaNet's exploration noise; for Discrete, sometimes any."""
        explore = np.float32(self._settings.explore)
        if not self._actions.discrete:
            return action + explore * rng.standard_normal(action.shape, np.float32)
        other = rng.random(action.shape, np.float32)
        return other if rng.random() < explore else action


def graph_model(
    graphs: Graphs, names: Collection[str], planning: Planning, carry: Collection[str]
) -> Model:
    """A bundle's model, with what it has of `propose` and `value` among `names`."""

    def feed(state: State) -> dict[str, Floats]:
        return {f"in_carry_{k}": state[k] for k in carry}

    def rows(state: State) -> int:
        return len(next(iter(state.values())))

    def imagine(
        state: State, action: Floats, rng: np.random.Generator
    ) -> tuple[State, Floats, Floats]:
        noise = {f"in_noise_{k}": n.sample(rng, len(action)) for k, n in planning.noise.items()}
        out = graphs.run("imagine", {**feed(state), **noise, "in_action": action})
        after = {k: out[f"out_carry_{k}"] for k in carry}
        return after, out["out_reward"], out["out_continue"]

    def propose(state: State, rng: np.random.Generator) -> Floats:
        drawn = {k: n.sample(rng, rows(state)) for k, n in planning.proposal_noise.items()}
        noise = {f"in_noise_{k}": array for k, array in drawn.items()}
        action: Floats = graphs.run("propose", {**feed(state), **noise})["out_action"]
        return action

    def value(state: State) -> Floats:
        found: Floats = graphs.run("value", feed(state))["out_value"]
        return found

    return Model(
        imagine,
        propose if "propose" in names else None,
        value if "value" in names else None,
        planning.discount,
    )


def _check_finite(state: State) -> None:
    """A search would choose some action even in a state that is none. Raises BundleError."""
    bad = [name for name, array in state.items() if not np.isfinite(array).all()]
    if bad:
        raise BundleError(f"the model's state is not finite: {', '.join(bad)}")


def _to_arrays(memory: Memory) -> dict[str, np.ndarray]:
    numbers = np.array([[memory.pace, memory.fresh]])
    arrays = {"location": memory.location, "plan": memory.plan, "kept": memory.kept}
    return {f"{PLAN}numbers": numbers} | {f"{PLAN}{k}": v[None] for k, v in arrays.items()}


def _from_arrays(state: State) -> Memory:
    pace, fresh = state[f"{PLAN}numbers"][0]
    location, plan, kept = (state[f"{PLAN}{k}"][0] for k in ("location", "plan", "kept"))
    return Memory(location, plan, kept, float(pace), bool(fresh))


def _report(decision: Decision) -> dict[str, np.ndarray]:
    return {
        f"{PLAN}candidates": np.array([decision.candidates]),
        f"{PLAN}iterations": np.array([decision.iterations]),
        f"{PLAN}expected": np.array([decision.expected]),
    }
