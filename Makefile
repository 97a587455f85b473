# Every task by name; CI calls only these. `make` alone lists them.

CARGO ?= cargo
# One profile for clippy, tests and the demo: nothing is built twice.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test lint fmt sim soak bench bench-pictures tools build

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## A person buys credits and gets a picture, then a batch: gateway, backend-api, three simulated GPUs and WeChat; ONCE=1 ends after one batch, COMFYUI_URL=… takes real GPUs
	@ONCE="$(ONCE)" COMFYUI_URL="$(COMFYUI_URL)" "$${CARGO_TARGET_DIR:-target}/debug/demo"

test: build ## Everything, the official Python SDK and three databases included; skips nothing
	@tests/setup-python
	@tests/setup-node
	@tests/databases
ifdef NEXTEST
	$(CARGO) nextest run --workspace -E 'not package(e2e)'
	$(CARGO) test --workspace --doc
	$(CARGO) nextest run --workspace -E 'package(e2e)'
else
	$(CARGO) test --workspace
endif
	@tests/databases clean

lint: tools ## Formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

sim: tools ## The scheduler against seeded faults; SEED=n runs one seed, SEEDS=n the first n
	SIM_SEED="$(SEED)" SIM_SEEDS="$(SEEDS)" $(CARGO) test --package scheduler --test sim -- --nocapture

soak: build ## Long runs: many simulation seeds (SEEDS=n), and the kill test many times (KILLS=n)
	SIM_SEEDS="$${SEEDS:-5000}" $(CARGO) test --release --package scheduler --test sim -- --nocapture
	KILLS="$${KILLS:-50}" $(CARGO) test --package e2e --test crash_recovery -- --nocapture --test-threads=1
	KILLS="$${KILLS:-500}" $(CARGO) test --package backend-api --test backend -- --nocapture --exact money::kills::no_kill_between_any_two_steps_loses_or_makes_money
	KILLS="$${KILLS:-500}" $(CARGO) test --package e2e --test kills_of_backend -- --nocapture

bench: tools ## Latency, throughput and memory against the aims
	$(CARGO) build --release --workspace --bins
	$(CARGO) run --release --package e2e --bin bench
	$(CARGO) run --release --package e2e --bin bench-people
	$(CARGO) bench --package scheduler --bench scale
	$(CARGO) bench --package scheduler --bench scale -- instructions
	$(MAKE) bench-pictures

bench-pictures: tools ## One core's picture throughput beside Pillow and sharp
	@tests/peers/pictures/run

build: tools
	$(CARGO) build --workspace --bins

tools:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing; see https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing; run: apt-get install build-essential" >&2; exit 1; }
