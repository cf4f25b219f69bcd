"""Folders of the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCH = ROOT / 'bench'
CONFIG = ROOT / 'config'
DOCS = ROOT / 'docs'
EMBEDDED_MODEL = ROOT / 'models' / 'mimo_tiny'
EXAMPLES = ROOT / 'examples'
LAUNCH = ROOT / 'launch'
SKILL_FILES = CONFIG / 'skills'
TEST_DATA = ROOT / 'test' / 'data'
