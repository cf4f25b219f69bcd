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
    'growth_min_ratio': '`growth_min_ratio`: the row that gains least, below: time',
    'ros_added_ms': 'what ROS adds, goal to result, beside a 1080p camera at 30 Hz: median',
    'cancel_p99_ms': 'end of a cancelled goal after the cancel call: 99 of 100',
}
_PLAIN, _OURS, _SEEN = '#9a9a9a', '#d1580f', '#1f6fb2'


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return '\n'.join(
        f'| {" | ".join(map(str, row))} |' for row in (head, ['---'] * len(head), *rows))


def _milliseconds(spread: dict[str, Any]) -> str:
    return f'{1e3 * spread["median"]:.1f} ({1e3 * spread["low"]:.1f} to {1e3 * spread["high"]:.1f})'


def page(report: dict[str, Any], gpu: dict[str, Any] | None, picture: str) -> str:
    """Return the page as Markdown."""
    about, answers, parts = report['machine'], report['answers'], report['by_threads']
    same = 'the same' if report['token_identical'] else 'NOT all the same'
    models = ', '.join(dict.fromkeys(part['model'] for part in parts.values()))
    loads = '; '.join(
        f'{_threads(number)}: {part["load_before"]:.1f} before and {part["load_after"]:.1f} after'
        for number, part in parts.items())
    sections = '\n'.join(_section(number, part) for number, part in parts.items())
    return f"""# Benchmarks

Made by `make bench`; do not edit. The baseline is plain `generate` of transformers, called once for
each question, one after the other. Both sides go from a question and its frame to the text of the
answer, on the same frames, in turn; frames are new in each repetition. Before the first, each side
answered 24 questions about other frames.

Model: {models}. Machine: {about['processor']}, {about['cores']} cores.
torch {about['torch']}, transformers {about['transformers']}.

All was measured with {' and with '.join(map(_threads, parts))}, of which both sides may take as
many. The load of the machine (processes that run or wait, average of a minute) was, with
{loads}.

{_targets(report)}

`growth_min_ratio` is the least of plain over engine in all rows of questions, cameras and image
tokens below: {_worst_rows(parts)}.

{answers['compared']} answers of both sides were compared token by token, in float32: they are
{same}.
{_ros(report['ros']) if report['ros'] else ''}
![How it grows with questions, cameras and image tokens]({picture})

{sections}
{_gpu(gpu) if gpu else ''}""".rstrip() + '\n'


def _threads(number: str) -> str:
    return 'one thread' if number == '1' else f'{number} threads'


def _worst_rows(parts: dict[str, Any]) -> str:
    return ', and '.join(
        f'{part["growth_min_ratio"]:.2f} at {part["growth_min_row"]} with {_threads(number)}'
        for number, part in parts.items())


def _section(number: str, part: dict[str, Any]) -> str:
    return f"""## With {_threads(number)}

Milliseconds, median and quartiles; of `decode_one_stream`, a token:

{_spreads(part['details'])}

{_growth(part['growth'])}"""


def _targets(report: dict[str, Any]) -> str:
    parts, rows = report['by_threads'], []
    for name, words in _WORDS.items():
        value, least = report[name], name in report['targets']['at_least']
        target = report['targets']['at_least' if least else 'at_most'][name]
        unit = 'times plain' if least else 'ms'
        good = value is not None and (value >= target if least else value <= target)
        figures = [part.get(name, value) for part in parts.values()]
        rows.append((words, f'{"at least" if least else "at most"} {target:g}',
                     *('-' if figure is None else f'{figure:.2f} {unit}' for figure in figures),
                     'yes' if good else 'no'))
    return _table(('measure', 'target', *map(_threads, parts), 'reached'), rows)


def _spreads(details: dict[str, Any]) -> str:
    rows = []
    for name, detail in details.items():
        rows.append((f'`{name}`', *(_milliseconds(detail[f'{side}_s'])
                                    for side in ('plain', 'ours', 'stepwise')),
                     detail['plain_s']['repetitions']))
    return _table(('measure', 'plain', 'engine', 'without drafts', 'repetitions'), rows)


def _ros(ros: dict[str, Any]) -> str:
    return f"""
Through ROS a yes/no about the newest of {ros['camera_hz']:.0f} pictures a second took
{ros['goal_to_result_ms']['median']:.1f} ms from goal to result.
{ros['added_ms']['median']:.1f} ms of them were outside of the engine:
{ros['added_in_node_ms']['median']:.1f} ms in the node, and the rest on the way.
An action of rclpy that does nothing took
{ros['bare_ms']['median']:.1f} ms beside the same camera and node.

`stamp_to_answer_ms`, from the image's stamp to the result in the client, was
{ros['stamp_to_answer_ms']['median']:.1f} ms. Medians of its stages:
{ros['image_age_ms']['median']:.1f} until a request took the image,
{ros['engine_ms']['median']:.1f} in the engine,
{ros['after_image_ms']['median']:.1f} in the rest of the node and on the way back.

{ros['cancelled']} goals of about
{ros['long_goal_ms']:.0f} ms were cancelled at random times: half had ended after
{ros['cancel_median_ms']:.1f} ms, the last one after {ros['cancel_longest_ms']:.1f} ms.
"""


def _growth(growth: dict[str, Any]) -> str:
    questions, larger = growth['questions'], growth['image_tokens']
    rows = [
        (row['questions'], f'{row["questions"] / row["plain_s"]:.1f}',
         f'{row["questions"] / row["new_s"]:.1f}', _ratio(row),
         f'{1e3 * row["latency_median_s"]:.0f}', f'{1e3 * row["latency_longest_s"]:.0f}')
        for row in questions
    ]
    head = ('questions', 'plain, answers a second', 'engine, answers a second', 'plain / engine',
            'median latency, ms', 'longest, ms')
    return f"""Different questions at once about one new frame:

{_table(head, rows)}

One question about so many images, milliseconds; the second question is about the same ones:

{_seconds('cameras', growth['cameras'])}

The same about one image of so many tokens, with random weights of a larger shape
({larger['parameters'] / 1e6:.0f} million parameters):

{_seconds('image_tokens', larger['answers'])}
"""


def _seconds(name: str, rows: Sequence[dict[str, float]]) -> str:
    return _table(
        (name.replace('_', ' '), 'plain', 'engine', 'plain / engine', 'engine, second question'),
        [(row[name], f'{1e3 * row["plain_s"]:.0f}', f'{1e3 * row["new_s"]:.0f}', _ratio(row),
          f'{1e3 * row["seen_s"]:.0f}') for row in rows])


def _ratio(row: dict[str, float]) -> str:
    return f'{row["plain_s"] / row["new_s"]:.2f}'


def _gpu(gpu: dict[str, Any]) -> str:
    head = ('side', 'tokens/s', '8 streams', 'GB/s', 'of a copy', 'first token, ms', 'seen, ms',
            '8 questions, s', 'memory, GB')
    rows = []
    for name, side in gpu['sides'].items():
        streams = f'{side["tokens_per_s_8"]:.1f}' if 'tokens_per_s_8' in side else ''
        read = f'{side["gb_per_s"]:.0f}' if 'gb_per_s' in side else ''
        share = f'{side["roofline_share"]:.0%}' if 'roofline_share' in side else ''
        rows.append((
            f'`{name}`', f'{side["tokens_per_s"]:.1f}', streams, read, share,
            f'{1e3 * side["first_token_s"]:.0f}', f'{1e3 * side["seen_first_token_s"]:.0f}',
            f'{side["same_frame_8q_s"]:.2f}', f'{side["peak_memory_gb"]:.1f}'))
    return f"""
## On a GPU

Made by `python bench/gpu.py` on {gpu['device']} ({gpu['bandwidth_gb_per_s']:.0f} GB/s by a copy),
with random weights of the shape {gpu['shape']} in {gpu['dtype']}, and frames of 1280x720; torch
{gpu['torch']}, transformers {gpu['transformers']}. GB/s are the bytes of weights and cache that a
token must read, times tokens a second. `plain` is `generate`, `plain_static` with a static cache,
`ours` the engine, and the sides below it differ in the setting of their name.

{_table(head, rows)}
"""


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw four panels: the ratios, and how they scale with questions, cameras and tokens.

    With the first number of threads that was measured; the page has the others.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout='constrained')
    panels = figure.subplots(2, 2).flat
    threads, part = next(iter(report['by_threads'].items()))
    growth = part['growth']
    figure.suptitle(f'with {_threads(threads)}')
    _plot_ratios(next(panels), part, report['targets']['at_least'])
    _plot_questions(next(panels), growth['questions'])
    _plot_seconds(next(panels), 'cameras', growth['cameras'])
    _plot_seconds(next(panels), 'image_tokens', growth['image_tokens']['answers'], scale='log')
    figure.savefig(path, dpi=110, metadata={'Software': None})


def _plot_ratios(panel: Axes, part: dict[str, Any], targets: dict[str, float]) -> None:
    places = range(len(targets))
    panel.barh(places, [part[name] for name in targets], color=_OURS)
    for place, target in zip(places, targets.values()):
        panel.plot([target, target], [place - 0.45, place + 0.45], color='black',
                   label='target' if not place else None)
    panel.set(yticks=list(places), yticklabels=list(targets), xlabel='times plain generate')
    panel.invert_yaxis()
    panel.legend()


def _plot_questions(panel: Axes, rows: Sequence[dict[str, float]]) -> None:
    counts = [row['questions'] for row in rows]
    for side, colour, label in (('plain_s', _PLAIN, 'plain generate'), ('new_s', _OURS, 'engine')):
        panel.plot(counts, [row['questions'] / row[side] for row in rows], 'o-', color=colour,
                   label=label)
    panel.set(xscale='log', xlabel='questions at once about one frame',
              ylabel='answers a second')
    panel.set_ylim(0)
    panel.set_xticks(counts, list(map(str, counts)))
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
