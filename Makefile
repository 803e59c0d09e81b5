# What a person types. Everything runs from a clean checkout; what is made stays under target/.

CARGO  ?= cargo
DIST   := target/dist
TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BUILT  := target/$(TARGET)/release
# The init goes without unwind tables: docs/decisions/0003 has the figures.
INIT    = --config 'target.$(TARGET).rustflags=["-C", "link-arg=-Wl,-T,$(CURDIR)/dist/init.ld", "-C", "link-arg=-Wl,--no-eh-frame-hdr"]'
# The rig makes chroots and mount namespaces; everything else runs as whoever types make.
RIG     = $(shell [ "$$(id -u)" = 0 ] || echo sudo) $(DIST)/nextroot-qemu --dist $(DIST)

.PHONY: help deps build demo test test-full check vm audit

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

deps: ## install what is missing (Debian and its relatives)
	@./dist/deps

build: ## static binaries, in target/dist/
	@mkdir -p $(DIST)
	$(CARGO) build --release --locked -p nextroot -p nextroot-mkinitrd -p nextroot-guest -p nextroot-qemu
	@install -m 0755 $(BUILT)/nextroot $(BUILT)/mkinitrd $(BUILT)/guest-init $(BUILT)/nextroot-qemu $(DIST)/
	$(CARGO) build --release --locked -p nextroot --no-default-features --target-dir target/init $(INIT)
	@install -m 0755 target/init/$(TARGET)/release/nextroot $(DIST)/nextroot-init

demo: deps build ## watch a boot from a verified root, and the refusal of a damaged one
	@$(RIG) demo

check: ## format, lints, unit and integration tests: no virtual machine
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked

vm: build ## run scenarios: make vm SCENARIO="01 12"
	@$(RIG) run $(SCENARIO)

test: deps check build ## everything
	@$(RIG) run --json target/rig/results.json

test-full: deps check build ## everything on every systemd: hours
	@$(RIG) run --full --json target/rig/results-full.json

audit: ## licences, bans, sources and advisories of all dependencies (needs cargo-deny)
	cargo deny --locked check
