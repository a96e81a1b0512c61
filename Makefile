# make demo    sets everything up and makes a portrait speak, in Blender: demo/parlando.blend, demo/preview.mp4
# make test    sets everything up, lints, and runs the tests
# make zip     builds and validates the extension: dist/parlando-*.zip
# make gui     the same in a Blender with a window, with pictures: docs/pictures (BLENDER= names the command)
# make bench   time per frame and memory, and how fast a long take is in Blender
# make evaluate  how good motion and pictures are, with controls: docs/evaluation*.md (needs ../shared/data)
PYTHON ?= $(firstword $(foreach p,python3.11 /usr/bin/python3.11 $(wildcard $(HOME)/.pyenv/versions/3.11*/bin/python3.11),\
	$(shell $(p) -c 'import sys; sys.version_info[:2] == (3, 11) and print("$(p)")' 2>/dev/null)))
BLENDER ?= blender
VENV := .venv/bin

.NOTPARALLEL:
.PHONY: demo test lint zip gui bench evaluate setup setup-tests clean
demo: setup
	$(VENV)/python tools/demo.py

test: setup-tests lint
	$(VENV)/python -m pytest
	$(VENV)/python -m pytest tests/blender
	@if [ -e .venv-5.2/parlando-setup ]; then set -x; \
		PARLANDO_ENGINE_PYTHON="$(CURDIR)/$(VENV)/python" .venv-5.2/bin/python -m pytest tests/blender; fi

# Blender's side is checked under the name it has in Blender: the repo root as the package `parlando`.
lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	@mkdir -p build/typing && ln -sfn ../.. build/typing/parlando
	cd build/typing && MYPYPATH=. ../../$(VENV)/mypy --config-file ../../pyproject.toml -p parlando.addon -p parlando.operators -p parlando.ui_panels

zip: setup
	$(VENV)/python tools/build_zip.py

gui: setup zip
	$(VENV)/python tools/gui.py --blender "$(BLENDER)"

bench: setup
	$(VENV)/python -m benchmarks.dub --out docs/pictures
	$(VENV)/python -m benchmarks.landmarks

# Needs the data in ../shared; takes 25 minutes. IDENTITY= names the folder `model` of npm's @vladmandic/face-api@1.7.15.
evaluate: setup
	$(VENV)/python -m engine.evaluation.report --data ../shared/data
	$(VENV)/python -m engine.evaluation.pictures --data ../shared/data $(if $(IDENTITY),--identity $(IDENTITY))

setup: python
	@$(PYTHON) tools/setup.py

setup-tests: python
	@$(PYTHON) tools/setup.py --blender-5.2

.PHONY: python
python:
	@[ -n "$(PYTHON)" ] || { echo "Parlando needs Python 3.11: sudo apt-get install -y python3.11" >&2; exit 1; }

clean:
	rm -rf .venv .venv-5.2 build dist demo/parlando.blend demo/preview.mp4 demo/parlando_takes .mypy_cache .ruff_cache .pytest_cache
