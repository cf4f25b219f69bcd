"""Make docs/benchmarks.md and its plot from the figures of ``make bench``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_WORDS = {
    'same_frame_8q': '8 questions on one frame of 1280x720, all answers: throughput',
    'seen_frame_yes_no': 'a yes/no on a frame already seen: time',
    'decode_one_stream': 'tokens a second, one stream',
    'new_frame_8q': '8 questions, each with a new frame: throughput',
    'ros_added_ms': 'what ROS adds, goal to result, beside a 1080p camera at 30 Hz: median',
    'cancel_p99_ms': 'end of a cancelled goal after the cancel call: 99 of 100',
}
_PLAIN, _OURS, _SEEN = '#9a9a9a', '#d1580f', '#1f6fb2'


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return '\n'.join(
        f'| {" | ".join(map(str, row))} |' for row in (head, ['---'] * len(head), *rows))


def _milliseconds(spread: dict[str, Any] | None) -> str:
    if spread is None:
        return '-'
    return f'{1e3 * spread["median"]:.1f} ({1e3 * spread["low"]:.1f} to {1e3 * spread["high"]:.1f})'


def page(report: dict[str, Any], gpu: dict[str, Any] | None, picture: str) -> str:
    """Return the page as Markdown."""
    about, answers = report['machine'], report['details']['answers']
    ros, growth = report['details'].get('ros'), report['growth']
    same = 'the same' if report['token_identical'] else 'NOT all the same'
    return f"""# Benchmarks

Made by `make bench`; do not edit. The baseline is plain `generate` of transformers, called once for
each question, one after the other. Both sides go from a question and its frame to the text of the
answer, on the same frames, in turn; frames are new in each repetition. Before the first, each side
answered 24 questions about other frames.

Model: {report['model']}. Machine: {about['processor']}, {about['cores']} cores.
Plain `generate` has {about['threads']} threads and the engine as many as it takes by itself, one
for a small model. torch {about['torch']}, transformers {about['transformers']}.

{_targets(report)}

{answers['compared']} answers of both sides were compared token by token, in float32: they are
{same}.

Milliseconds, median and quartiles; of `decode_one_stream`, a token:

{_spreads(report)}
{_ros(ros) if ros else ''}
![How it grows with questions, cameras and image tokens]({picture})

{_growth(growth)}
{_gpu(gpu) if gpu else ''}""".rstrip() + '\n'


def _targets(report: dict[str, Any]) -> str:
    rows = []
    for name, words in _WORDS.items():
        value, least = report[name], name in report['targets']['at_least']
        target = report['targets']['at_least' if least else 'at_most'][name]
        unit = 'times plain' if least else 'ms'
        good = value is not None and (value >= target if least else value <= target)
        rows.append((words, f'{"at least" if least else "at most"} {target:g}',
                     '-' if value is None else f'{value:.1f} {unit}', 'yes' if good else 'no'))
    return _table(('measure', 'target', 'figure', 'reached'), rows)


def _spreads(report: dict[str, Any]) -> str:
    rows = []
    for name in report['targets']['at_least']:
        detail = report['details'][name]
        rows.append((f'`{name}`', *(_milliseconds(detail.get(f'{side}_s'))
                                    for side in ('plain', 'ours', 'stepwise')),
                     detail['plain_s']['repetitions']))
    return _table(('measure', 'plain', 'engine', 'without drafts', 'repetitions'), rows)


def _ros(ros: dict[str, Any]) -> str:
    return f"""
Through ROS a yes/no about the newest of {ros['camera_hz']:.0f} pictures a second took
{ros['goal_to_result_ms']['median']:.1f} ms from goal to result.
{ros['added_ms']['median']:.1f} ms of them were outside of the engine:
{ros['added_in_node_ms']['median']:.1f} ms in the node, most of them to take and convert the image,
and the rest on the way. An action of rclpy that does nothing took
{ros['bare_ms']['median']:.1f} ms beside the same camera and node. {ros['cancelled']} goals of about
{ros['long_goal_ms']:.0f} ms were cancelled at random times: half had ended after
{ros['cancel_median_ms']:.1f} ms, the last one after {ros['cancel_longest_ms']:.1f} ms.
"""


def _growth(growth: dict[str, Any]) -> str:
    questions, larger = growth['questions'], growth['image_tokens']
    rows = [
        (row['questions'], f'{row["answers_per_s"]:.1f}',
         f'{1e3 * row["latency_median_s"]:.0f}', f'{1e3 * row["latency_longest_s"]:.0f}')
        for row in questions['ours']
    ]
    return f"""Different questions at once about one new frame; plain `generate` answers
{questions['plain_answers_per_s']:.1f} a second:

{_table(('questions', 'answers a second', 'median latency, ms', 'longest, ms'), rows)}

One question about so many images, milliseconds; the second question is about the same ones:

{_seconds('cameras', growth['cameras'])}

The same about one image of so many tokens, with random weights of a larger shape
({larger['parameters'] / 1e6:.0f} million parameters):

{_seconds('image_tokens', larger['answers'])}
"""


def _seconds(name: str, rows: Sequence[dict[str, float]]) -> str:
    return _table(
        (name.replace('_', ' '), 'plain', 'engine', 'engine, second question'),
        [(row[name], *(f'{1e3 * row[side]:.0f}' for side in ('plain_s', 'new_s', 'seen_s')))
         for row in rows])


def _gpu(gpu: dict[str, Any]) -> str:
    plain, ours, roofline = gpu['plain'], gpu['ours'], gpu['roofline']
    rows = [
        ('tokens a second, one stream', f'{plain["tokens_per_s"]:.1f}',
         f'{ours["tokens_per_s"]:.1f}', f'{roofline["tokens_per_s"]:.1f}'),
        ('tokens a second, 8 streams', f'{plain["tokens_per_s"]:.1f}',
         f'{ours["tokens_per_s_8"]:.1f}', f'{roofline["tokens_per_s_8"]:.1f}'),
        ('first token, ms', f'{1e3 * plain["first_token_s"]:.0f}',
         f'{1e3 * ours["first_token_s"]:.0f}', ''),
        ('first token on a frame already seen, ms', f'{1e3 * plain["seen_first_token_s"]:.0f}',
         f'{1e3 * ours["seen_first_token_s"]:.0f}', ''),
        ('8 questions on one frame, s', f'{plain["same_frame_8q_s"]:.2f}',
         f'{ours["same_frame_8q_s"]:.2f}', ''),
        ('peak memory, GB', f'{plain["peak_memory_gb"]:.1f}', f'{ours["peak_memory_gb"]:.1f}', ''),
    ]
    return f"""
## On a GPU

Made by `python bench/gpu.py` on {gpu['device']} ({gpu['bandwidth_gb_per_s']:.0f} GB/s by a copy),
with random weights of the shape {gpu['shape']} in {gpu['dtype']}, and frames of 1280x720. The
roofline is the bytes of weights and cache that a token must read, over that bandwidth.

{_table(('measure', 'plain', 'engine', 'roofline'), rows)}
"""


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw four panels: the ratios, and how they scale with questions, cameras and tokens."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout='constrained')
    panels = figure.subplots(2, 2).flat
    _plot_ratios(next(panels), report)
    _plot_questions(next(panels), report['growth']['questions'])
    _plot_seconds(next(panels), 'cameras', report['growth']['cameras'])
    _plot_seconds(next(panels), 'image_tokens', report['growth']['image_tokens']['answers'],
                  scale='log')
    figure.savefig(path, dpi=110, metadata={'Software': None})


def _plot_ratios(panel: Axes, report: dict[str, Any]) -> None:
    targets = report['targets']['at_least']
    places = range(len(targets))
    panel.barh(places, [report[name] for name in targets], color=_OURS)
    for place, target in zip(places, targets.values()):
        panel.plot([target, target], [place - 0.45, place + 0.45], color='black',
                   label='target' if not place else None)
    panel.set(yticks=list(places), yticklabels=list(targets), xlabel='times plain generate')
    panel.invert_yaxis()
    panel.legend()


def _plot_questions(panel: Axes, grown: dict[str, Any]) -> None:
    rows = grown['ours']
    panel.plot([row['questions'] for row in rows], [row['answers_per_s'] for row in rows], 'o-',
               color=_OURS, label='engine')
    panel.axhline(grown['plain_answers_per_s'], color=_PLAIN, label='plain generate')
    panel.set(xscale='log', xlabel='questions at once about one frame',
              ylabel='answers a second')
    panel.set_ylim(0)
    panel.set_xticks([row['questions'] for row in rows], [str(row['questions']) for row in rows])
    panel.minorticks_off()
    panel.legend()


def _plot_seconds(
    panel: Axes, name: str, rows: Sequence[dict[str, float]], scale: str = 'linear'
) -> None:
    sides = (('plain_s', _PLAIN, 'plain generate'), ('new_s', _OURS, 'engine'),
             ('seen_s', _SEEN, 'engine, second question'))
    counts = [row[name] for row in rows]
    for side, colour, label in sides:
        panel.plot(counts, [row[side] for row in rows], 'o-', color=colour, label=label)
    panel.set(xlabel=name.replace('_', ' '), ylabel='seconds to the answer', xscale=scale,
              yscale=scale)
    if scale == 'linear':
        panel.set_ylim(0)
    panel.set_xticks(counts, list(map(str, counts)))
    panel.minorticks_off()
    panel.legend()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--figures', type=Path, default=Path('bench_out'),
                        help='folder of serving.json and, where there is one, gpu.json')
    parser.add_argument('--out', type=Path, default=Path('docs'))
    options = parser.parse_args()
    report = json.loads((options.figures / 'serving.json').read_text('utf-8'))
    gpu = options.figures / 'gpu.json'
    options.out.mkdir(parents=True, exist_ok=True)
    text = page(report, json.loads(gpu.read_text('utf-8')) if gpu.exists() else None,
                'benchmarks.png')
    (options.out / 'benchmarks.md').write_text(text, 'utf-8')
    plot(report, options.out / 'benchmarks.png')
    print(f'{options.out}/benchmarks.md, {options.out}/benchmarks.png')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
