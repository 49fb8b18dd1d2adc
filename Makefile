# 两条命令 / two commands:  make demo   make test
# 其余 / others:            make bench  make forward  make torture  make power  make rot  make fuzz  make vm-test  make vm-power  make screenshots  make lint  make clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

SECONDS ?= 20
FUZZ_SECONDS ?= 60
STATES ?= 20000
FLIPS ?= 10000
RATINGS ?= 100000
MINUTES ?= 5
KILLS ?= 0
CUTS ?= 200
FAULTS  ?= 0
SEED    ?= 7
BROKER  ?= amqtt
JSON    ?=
KEEP    ?=
PYTEST_ARGS ?=
TESTED  ?= constraints.txt
WORKERS ?= 2

.PHONY: demo trial test bench forward torture power rot fuzz mutations vm-test vm-power lint format setup newest mosquitto browser axe prometheus screenshots qemu clean

# 一次繁忙的上午, 全部为独立进程 / a busy morning, every part a process of its own
demo: $(READY)
	@$(BIN)/firmware-sim demo --seconds $(SECONDS) --seed $(SEED) --broker $(BROKER) \
		$(if $(filter-out 0,$(FAULTS)),--faults) $(if $(JSON),--json $(JSON)) $(if $(KEEP),--keep $(KEEP))

# 在这台机器上试用: 消息服务器和省平台是模拟的, 汇聚器和代理是真的; Ctrl-C 结束 / a trial on this machine: broker and province are
# simulated, collector and agent are real; Ctrl-C ends it: deploy/trial/README.md
trial: $(READY)
	@mkdir -p trial && cp -n deploy/trial/*.toml deploy/trial/*.json trial/ && BIN=$$(realpath $(BIN)) && cd trial && \
		parts=; trap 'kill $$parts 2>/dev/null; wait' INT TERM EXIT; \
		$$BIN/firmware-sim broker --port 18830 --users-file users.json & parts="$$parts $$!"; \
		$$BIN/firmware-sim province --dialect json --port 18800 --key-file province.json --journal province.jsonl & \
		parts="$$parts $$!"; \
		$$BIN/collector run --config collector.trial.toml & parts="$$parts $$!"; \
		$$BIN/edge-agent run --config agent.trial.toml & parts="$$parts $$!"; wait

# 两个进程并行; 计时的测试随后单独运行 (退出码 5: 没有选中任何测试) / two processes side by side, and those that hold
# a clock by themselves behind them (5: none was chosen)
test: $(READY) mosquitto browser axe prometheus
	@$(BIN)/pytest -m "not vm and not alone" -n $(WORKERS) --dist worksteal $(PYTEST_ARGS) || [ $$? = 5 ]
	@$(BIN)/pytest -m "alone and not vm" $(PYTEST_ARGS) || [ $$? = 5 ]

# 真实驱动、真实插拔: 在小虚拟机里运行代理 / real drivers and real unplugging: the agent in a small guest machine.
# VM_CYCLES=200 拔插两百次 / pulls the adapter two hundred times; 断电三次 / and cuts the power three times
vm-test: $(READY) qemu mosquitto
	@$(BIN)/python -m tests.vm.prepare
	@$(BIN)/pytest -m vm tests/vm $(PYTEST_ARGS)

# 真正断电: 虚拟机连同它的硬盘 / the real power cut, of a guest and its drive: CUTS=200, VM_POWER_ARGS='--on xfs --seed 9'
vm-power: $(READY) qemu mosquitto
	@$(BIN)/python -m tests.vm.power --cuts $(CUTS) $(VM_POWER_ARGS)

# 在每一次磁盘写入处断电 / cut the power at every write to the disk
power: $(READY)
	@$(BIN)/python -m tests.power.cuts --states $(STATES) $(POWER_ARGS)

# 翻转存档、账本中的任意一位 / turn any bit of an outbox or a ledger round
rot: $(READY)
	@$(BIN)/python -m tests.power.rot --flips $(FLIPS) $(ROT_ARGS)
	@$(BIN)/python -m tests.power.rot_ledger --flips $(FLIPS) $(ROT_ARGS)
	@$(BIN)/python -m tests.power.rot_ledger --beside --flips $(FLIPS) $(ROT_ARGS)

# 真实进程, 一切都出错 / real processes, and everything goes wrong: MINUTES=60, KILLS=10000
torture: $(READY) mosquitto
	@$(BIN)/python -m tests.torture --minutes $(MINUTES) --kills $(KILLS) $(TORTURE_ARGS)

# 每种不守规矩的省平台, 各两成 / provinces that misbehave in every way, a fifth of the time each: RATINGS=100000
forward: $(READY)
	@$(BIN)/python -m tests.bench.forwarding --campaign --ratings $(RATINGS) --workers 12 --timeout-s 0.5 --stall-ms 1000

bench: $(READY) mosquitto
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

# 逐条破坏承诺的规则, 看测试变红 / break each rule of the promise and see the journeys turn red
mutations: $(READY)
	@$(BIN)/python -m tests.journeys.mutations

# 随机字节喂给一切读取器; atheris 只在此安装 / any bytes at everything that reads them; atheris is installed here only
fuzz: $(READY)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check 'atheris>=3.0,<4'
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

lint: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

setup: $(READY)

# 用最新版本重建环境并写下它们的版本号; 之后跑全部测试 / set up again with the newest versions and write down which they
# are; then run all tests before they are committed
newest:
	@rm -rf $(VENV) && $(MAKE) setup TESTED=
	@{ echo "# 一起测试过的版本 / the versions that were tested together; renewed by: make newest"; \
		$(BIN)/pip freeze --exclude-editable 2>/dev/null; } > constraints.txt

$(READY): setup.cfg pyproject.toml $(TESTED)
	@echo "准备环境 / setting up $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "需要 Python 3.11 或更新 / Python 3.11 or newer is needed; PYTHON=… make"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "请先安装 venv / install venv first: sudo apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check $(if $(TESTED),-c $(TESTED)) -e '.[dev]'
	@touch $@

# 从系统的软件源安装 / from the system's packages: $(call apt,包 packages)
apt = if [ "$$(id -u)" = 0 ]; then SUDO=; else SUDO=sudo; fi; \
	echo "安装 / installing $(filter-out --%,$(1)) …"; \
	$$SUDO apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$SUDO apt-get install -y -qq $(1) >/dev/null
skipped = || echo "装不上 $(1), 需要它的测试将跳过 / $(1) could not be installed, its tests will be skipped"

# 真实的浏览器和一种中文字体, 供页面的测试和截图使用 / a real browser and a Chinese font, for the pages' tests and pictures
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		{ $(call apt,chromium); } $(call skipped,chromium)
	@! command -v fc-list >/dev/null || fc-list :lang=zh | grep -q . || { $(call apt,fonts-wqy-microhei); } || true

# 查无障碍的 axe-core / what looks for barriers in the pages
AXE := $(VENV)/npm/node_modules/axe-core/axe.min.js
axe: $(AXE)
$(AXE): | $(READY)
	@command -v npm >/dev/null || { $(call apt,npm); } $(call skipped,npm)
	@! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --no-save --prefix $(VENV)/npm axe-core@4.14.1 \
		$(call skipped,axe-core)

# 每一页的图片: 两种语言, 大字, 深色 / pictures of every page, in both languages, large and dark: SHOTS=folder
SHOTS ?= screenshots
screenshots: $(READY) browser
	@$(BIN)/python -m tests.pages.screenshots --into $(SHOTS) $(SHOT_ARGS)

# 真实的 mosquitto 供测试使用 / the tests use a real mosquitto
mosquitto:
	@command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || { $(call apt,mosquitto); } $(call skipped,mosquitto)

# 真实的 Prometheus 供测试使用; 只解开, 不安装, 免得它作为服务启动 / a real Prometheus for the tests: unpacked and not
# installed, so that no service of it starts
PROMETHEUS := $(VENV)/prometheus/usr/bin/prometheus
prometheus: | $(READY)
	@command -v prometheus >/dev/null || [ -x $(PROMETHEUS) ] || { mkdir -p $(VENV)/prometheus && cd $(VENV)/prometheus && \
		{ apt-get download -qq prometheus 2>/dev/null || { $(call apt,--download-only prometheus) && \
		apt-get download -qq prometheus; }; } && dpkg -x prometheus_*.deb . && rm prometheus_*.deb; } \
		$(call skipped,prometheus)

# 软件模拟的虚拟机与内核包 / a machine in software, and the lists that its kernel is fetched by
qemu:
	@[ -d .vm/kernel ] && command -v qemu-system-x86_64 >/dev/null && [ -x /bin/busybox ] && \
		[ -x /usr/sbin/mkfs.btrfs ] && [ -x /usr/sbin/mkfs.xfs ] || { \
		$(call apt,--no-install-recommends qemu-system-x86 busybox-static e2fsprogs btrfs-progs xfsprogs); }

clean:
	rm -rf .vm $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-run fuzz-crashes
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
