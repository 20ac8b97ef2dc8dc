# Everything runs in .venv, which the first target that needs it makes from nothing.
PYTHON ?= python3
# A build of PyTorch for the CPU is enough; TORCH='torch' takes pip's own choice.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: compare test test-slow test-peers exhaustive lint clean

compare: .venv/installed
	$(BIN)/softplus compare digits

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

# Libraries that use Softplus, as the package index has them. What is installed already stays as it
# is, PyTorch above all: SchNetPack's pins want others, so it comes without its dependencies, and
# then what its import needs.
PEERS := gpytorch==1.15.2 pyro-ppl==1.9.2 \
	ase dirsync fasteners h5py matscipy omegaconf pytorch-lightning torch-ema
test-peers: .venv/peers
	$(BIN)/python -m pytest -W default tests/peers

# All 2^32 float32 inputs, on every instruction set of this CPU: about twenty minutes on two cores.
exhaustive: .venv/installed
	$(BIN)/python tools/exhaustive.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist softplus-report src/softplus/ops/cpu/*.so

.venv/installed: pyproject.toml setup.py $(wildcard src/softplus/ops/cpu/*.cpp src/softplus/ops/cpu/*.h)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet 'setuptools>=77' wheel
	# Without isolation: the CPU kernels are built against the PyTorch just installed.
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[lab,test]'
	touch $@

.venv/peers: .venv/installed
	$(BIN)/python -m pip freeze --exclude-editable > .venv/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint .venv/constraints.txt $(PEERS)
	$(BIN)/python -m pip install --quiet --no-deps schnetpack==2.1.1
	touch $@
