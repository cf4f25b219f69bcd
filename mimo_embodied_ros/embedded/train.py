"""Train the embedded model from scratch: ``python -m mimo_embodied_ros.embedded.train``.

`curriculum` describes the stages. A run that was stopped continues where it was. With ``--weights``
it begins with those of a trained model, and goes through the stages with rendered scenes alone.

Some attention heads are taught where to attend: from a thing to its nearest neighbour (vision), and
from a name to the thing, and from the answer to the names in the question and to the word that says
what is asked about them (language). What they should retrieve is taught as well: the places of the
thing and its neighbour, and the thing's size. Without this, comparisons stay at chance for hours of
CPU time.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError

from . import (
    curriculum,
    packed_model,
    packing,
    renders,
    taught_attention,
    untrained_model,
    vision_supervision,
    warm_start,
)
from .optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import Tokenizer

    from .curriculum import Stage
    from .renders import Renders

# weights in the loss: of the taught attention, and of what it retrieves
_ATTENTION_WEIGHT, _RECALL_WEIGHT = 0.3, 0.1
_CHOICE_WEIGHT = 1.0  # of the attention to the right option
_NUMBER_WEIGHT = 0.5
_NUMBERS = 10  # more than any number of things that is asked for


def _rate(stage: Stage, step: int) -> float:
    done = step / stage.steps
    warm = min(1.0, (step + 1) / 80)
    fall = max(0.0, (done - stage.hold) / (1 - stage.hold)) if stage.hold < 1 else 0.0
    return stage.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def _begun(stages: Sequence[Stage], stage: int) -> list[tuple[str, int]]:
    """Names and lengths of the stages up to one; later ones may be changed in a stopped run."""
    return [(s.name, s.steps) for s in stages[: stage + 1]]


class Training:
    """The model, the training heads and the optimiser, and the step that they have reached."""

    def __init__(
        self, folder: Path, seed: int, renders: Mapping[str, Renders] | None = None,
        stages: Sequence[Stage] | None = None,
    ) -> None:
        self.folder, self.seed, self.renders = folder, seed, renders or {}
        self.stages = stages or curriculum.STAGES
        self.tokenizer: Tokenizer = untrained_model.new_tokenizer(seed)
        self.packer = packing.Packer(self.tokenizer)
        self.model = untrained_model.new_model(self.tokenizer, seed)
        packed_model.use_packed_attention(self.model)
        # matrix products in bfloat16 where the processor has them: a quarter of the time less
        self._precision = torch.autocast(
            'cpu', torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported())
        hidden = self.model.lm_head.in_features
        self.heads = torch.nn.ModuleDict({
            'dense': torch.nn.Linear(hidden, vision_supervision.WIDTH),
            'name': torch.nn.Linear(hidden, vision_supervision.WIDTH),
            'answer': torch.nn.Linear(hidden, taught_attention.NAMES * vision_supervision.WIDTH),
            'number': torch.nn.Linear(hidden, _NUMBERS),
            'aim': torch.nn.Linear(hidden, vision_supervision.AIM),
            'name aim': torch.nn.Linear(hidden, vision_supervision.AIM),
            'answer aim': torch.nn.Linear(hidden, taught_attention.NAMES * vision_supervision.AIM),
        })
        self.learnt = torch.nn.ModuleList([self.model, self.heads])
        # weights where the branches fork, and at the end of each branch
        self.ends: list[dict[str, torch.Tensor]] = []
        self.stage, self.step, self.seconds = 0, 0, 0.0
        self._new_optimizer()

    def _new_optimizer(self) -> None:
        embeddings = {id(self.model.lm_head.weight)}
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = [*self.heads.parameters()]
        for p in self.model.parameters():
            (matrices if p.ndim == 2 and id(p) not in embeddings else others).append(p)
        self.optimizer = Optimizer(matrices, others)

    def restore(self) -> bool:
        """Load the state in the folder; return whether there is one.

        Raises:
            InvalidRequestError: it is of a run with other stages.

        """
        path = self.folder / 'state.pt'
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        if state.get('stages') != _begun(self.stages, state['stage']):
            msg = (f'{path} is of a training with other stages, which cannot be continued; remove '
                   'it, or give another folder with --work')
            raise InvalidRequestError(msg)
        self.learnt.load_state_dict(state['learnt'])
        self.ends = state['ends']
        self.optimizer.load_state_dict(state['optimizer'])
        self.stage, self.step, self.seconds = state['stage'], state['step'], state['seconds']
        return True

    def save_state(self) -> None:
        """Write the state from which a stopped run continues."""
        part = self.folder / 'state.part'
        torch.save({
            'learnt': self.learnt.state_dict(), 'ends': self.ends,
            'optimizer': self.optimizer.state_dict(), 'stages': _begun(self.stages, self.stage),
            'stage': self.stage, 'step': self.step, 'seconds': self.seconds,
        }, part)
        part.replace(self.folder / 'state.pt')

    def train_step(self, stage: Stage, statistics: dict[str, list[float]]) -> None:
        """Draw scenes, make questions about them, and update the weights."""
        with self._precision:
            self._train_step(stage, statistics)

    def _train_step(self, stage: Stage, statistics: dict[str, list[float]]) -> None:
        rng = random.Random(f'{self.seed} {stage.name} {self.step}')
        scenes, mixes = curriculum.draw_scenes(
            rng, stage, self.step / stage.steps, self.renders)
        batch = curriculum.pack_questions(rng, self.packer, scenes, mixes, stage)
        pictures = curriculum.pictures(scenes)
        neighbours = vision_supervision.neighbours(pictures, *batch.grid)
        image_tokens, looked = packed_model.encode_images(
            self.model, batch.patches, batch.grid, neighbours)
        targets = vision_supervision.targets(pictures, *batch.grid)
        tokens, target = image_tokens.flatten(0, 1), targets.flatten(0, 1)
        loss, parts = vision_supervision.dense_loss(
            self.heads['dense'](tokens), target, stage.names)
        if stage.name != 'see':
            aim, offset = vision_supervision.aim_loss(
                self.heads['aim'](tokens), target, *batch.grid)
            loss, parts = loss + aim, parts | offset
        loss = loss + _ATTENTION_WEIGHT * self._attention_loss('looked', looked, statistics)
        if stage.name in curriculum.SILENT:
            for name, value in parts.items():
                statistics.setdefault(name, []).append(value)
            self._learn(loss * stage.dense, stage)
            return
        targets = targets.reshape(len(scenes), -1, targets.shape[-1])
        answers = self._answer_loss(batch, image_tokens, targets, statistics)
        self._learn(loss * stage.dense + answers, stage)
        for _ in range(stage.rounds - 1):
            batch = curriculum.pack_questions(rng, self.packer, scenes, mixes, stage)
            loss = self._answer_loss(batch, image_tokens.detach(), targets, statistics)
            self._learn(loss, stage)

    def _answer_loss(
        self, batch: packing.PackedBatch, image_tokens: torch.Tensor, targets: torch.Tensor,
        statistics: dict[str, list[float]],
    ) -> torch.Tensor:
        answers = packed_model.answer_questions(self.model, batch, image_tokens)
        labels, weights = batch.labels[answers.at], batch.weights[answers.at]
        losses = F.cross_entropy(answers.logits, labels, reduction='none')
        right = (answers.logits.argmax(-1) == labels).float().numpy()
        kinds = batch.kinds[tuple(a.numpy() for a in answers.at)]
        for kind in set(kinds.tolist()) - {''}:
            statistics.setdefault(kind, []).append(float(right[kinds == kind].mean()))
        loss = (losses * weights).sum() / weights.sum().clamp(min=1.0)
        for name, attention in answers.attention.items():
            weight = _CHOICE_WEIGHT if name == 'chosen' else _ATTENTION_WEIGHT
            loss = loss + weight * self._attention_loss(name, attention, statistics)
        numbers = batch.taught['counted'][:, 5]
        if len(numbers):
            states = F.rms_norm(answers.at_numbers, answers.at_numbers.shape[-1:])
            outputs = self.heads['number'](states).float()
            loss = loss + _NUMBER_WEIGHT * F.cross_entropy(outputs, numbers)
            right_numbers = (outputs.argmax(-1) == numbers).float().mean().item()
            statistics.setdefault('at_number', []).append(right_numbers)
        return (loss
                + self._recall_loss('name', answers.at_names, batch.taught['pointed'], targets,
                                    batch.grid, statistics)
                + self._recall_loss('answer', answers.at_answers, batch.taught['recalled'],
                                    targets, batch.grid, statistics))

    def _recall_loss(
        self, where: str, states: torch.Tensor, looks: torch.Tensor, targets: torch.Tensor,
        grid: tuple[int, int], statistics: dict[str, list[float]],
    ) -> torch.Tensor:
        """The loss of what is retrieved about things, at their names or at the answer."""
        if not len(states):
            return torch.zeros(())
        row, *_, which, thing = looks.unbind(1)
        states = F.rms_norm(states, states.shape[-1:])

        def outputs(head: str, width: int) -> torch.Tensor:
            out: torch.Tensor = self.heads[head](states).unflatten(-1, (-1, width))
            return out[torch.arange(len(states)), which]

        loss, _ = vision_supervision.dense_loss(
            outputs(where, vision_supervision.WIDTH), targets[row, thing])
        aim, parts = vision_supervision.aim_loss(
            outputs(f'{where} aim', vision_supervision.AIM), targets[row, thing], *grid)
        for name, value in (('', loss.item()), ('_offset', parts['offset'])):
            statistics.setdefault(f'at_{where}{name}', []).append(value)
        return _RECALL_WEIGHT * (loss + aim)

    @staticmethod
    def _attention_loss(
        name: str, attention: torch.Tensor, statistics: dict[str, list[float]]
    ) -> torch.Tensor:
        """The loss of attention weights that should all be one."""
        if not len(attention):
            return torch.zeros(())
        statistics.setdefault(name, []).append(attention.mean().item())
        return -torch.log(attention + 1e-6).mean()

    def _learn(self, loss: torch.Tensor, stage: Stage) -> None:
        loss.backward()
        if stage.frozen:
            self.model.zero_grad()
        learning = [p for p in self.learnt.parameters() if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        self.optimizer.step(_rate(stage, self.step))

    def run(self, log: Path, *, every: int = 50) -> None:
        """Train all stages to the end."""
        statistics: dict[str, list[float]] = {}
        started = time.monotonic() - self.seconds
        while self.stage < len(self.stages):
            stage = self.stages[self.stage]
            while self.step < stage.steps:
                self.train_step(stage, statistics)
                self.step += 1
                self.seconds = time.monotonic() - started
                if self.step % every == 0:
                    means = {k: round(sum(v) / len(v), 3) for k, v in sorted(statistics.items())}
                    statistics.clear()
                    line = json.dumps({'stage': stage.name, 'step': self.step,
                                       'minutes': round(self.seconds / 60, 1), **means})
                    print(line, flush=True)
                    with log.open('a', encoding='utf-8') as file:
                        file.write(line + '\n')
                if self.step % 100 == 0:
                    self.save_state()
            self._end_stage()

    def _end_stage(self) -> None:
        """Begin the next stage: a branch from the fork; after branches from the mean of all."""
        branch = self.stages[self.stage].branch
        self.stage, self.step = self.stage + 1, 0
        next_branch = self.stage < len(self.stages) and self.stages[self.stage].branch
        if branch or next_branch:
            self.ends.append({k: v.clone() for k, v in self.learnt.state_dict().items()})
        if next_branch:
            self.learnt.load_state_dict(self.ends[0])
        elif branch:
            self.learnt.load_state_dict(
                {k: torch.stack([end[k] for end in self.ends]).mean(0) for k in self.ends[0]})
            self.ends = []
        self._new_optimizer()
        self.save_state()


def main() -> None:
    """Train, or continue a stopped run, and write the model's folder."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--out', type=Path, default=Path('models/mimo_tiny'),
                        help='folder of the model (default: %(default)s)')
    parser.add_argument('--work', type=Path, default=Path('build/train'),
                        help='folder of the run, to continue from (default: %(default)s)')
    parser.add_argument('--renders', type=Path, default=renders.FOLDER,
                        help='folder of the rendered pictures (default: %(default)s)')
    parser.add_argument('--weights', type=Path,
                        help='folder of a trained model to go on from; default: from nothing')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    if not (read := renders.read_all(options.renders)):
        print(f'{options.renders} has no rendered pictures: training on drawn ones alone')
    stages = curriculum.STAGES_OF_TRAINED if options.weights else curriculum.STAGES
    training = Training(options.work, options.seed, read, stages)
    try:
        if training.restore():
            print(f'continuing in stage {training.stage + 1} at step {training.step}')
        elif options.weights:
            warm_start.take_weights(training.model, training.tokenizer, options.weights)
    except MimoError as error:
        parser.error(str(error))
    training.run(options.work / 'log.jsonl')
    untrained_model.save(training.model, training.tokenizer, options.out)
    size = (options.out / 'model.safetensors').stat().st_size
    print(f'{options.out}: {size / 1e6:.1f} MB after {training.seconds / 60:.0f} minutes')


if __name__ == '__main__':
    main()
