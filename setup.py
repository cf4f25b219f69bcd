"""Lets pip install what CMake builds: interfaces, modules, executables and share/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build import build

SOURCE = Path(__file__).parent.resolve()


class CMakeBuild(build):
    """Hands the files of a CMake install to setuptools as data files below the prefix."""

    def run(self) -> None:
        """Configure, build and install into a folder of this interpreter's, kept for next time."""
        environment = f'cmake-{zlib.crc32(sys.prefix.encode()):08x}'
        binary = Path(self.build_temp).resolve() / environment
        prefix = binary / 'prefix'
        shutil.rmtree(prefix, ignore_errors=True)  # else a module that was deleted stays
        configure = [
            'cmake',
            '-S',
            SOURCE,
            '-B',
            binary,
            f'-DCMAKE_INSTALL_PREFIX={prefix}',
            f'-DPython3_EXECUTABLE={sys.executable}',
            '-DCMAKE_BUILD_TYPE=Release',
            '-DBUILD_TESTING=OFF',
        ]
        if not (binary / 'cmake_install.cmake').exists():  # else CMake itself sees what changed
            subprocess.run(configure, check=True)
        jobs = str(os.cpu_count() or 1)
        subprocess.run(['cmake', '--build', binary, '-j', jobs], check=True)
        subprocess.run(['cmake', '--install', binary], check=True, stdout=subprocess.DEVNULL)
        self.distribution.data_files = list(self._installed(prefix).items())
        super().run()

    @staticmethod
    def _installed(prefix: Path) -> dict[str, list[str]]:
        """Files by folder, both as setuptools' data_files wants them."""
        files: dict[str, list[str]] = {}
        for file in sorted(path for path in prefix.rglob('*') if path.is_file()):
            folder = file.parent.relative_to(prefix)
            # pip itself makes the console script, the metadata and the byte code
            if folder.parts[0] == 'bin' or folder.suffix == '.egg-info':
                continue
            if folder.name != '__pycache__':
                files.setdefault(str(folder), []).append(str(file.relative_to(SOURCE)))
        return files


class BinaryDistribution(Distribution):
    """Says that the wheel belongs to one Python and platform."""

    def has_ext_modules(self) -> bool:
        """Return that CMake builds extension modules."""
        return True


setup(packages=[], cmdclass={'build': CMakeBuild}, distclass=BinaryDistribution)
