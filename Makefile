# What a person types. Everything runs from a clean checkout; what is made stays under target/.

CARGO  ?= cargo
DIST   := target/dist
TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BUILT  := target/$(TARGET)
# The init goes without unwind tables: docs/decisions/0003 has the figures.
INIT    = --bin nextroot -- -C link-arg=-Wl,-T,$(CURDIR)/dist/init.ld -C link-arg=-Wl,--no-eh-frame-hdr
# Both inits are made beside the programs, in a directory of their own: Cargo builds one thing at a time in each. What they stand on is
# built twice so; where all begins with nothing (make test), once, and one after the other.
INIT_PROFILE ?= init
# What it may weigh, in bytes.
INIT_MOST ?= 1400000
# The rig makes chroots and mount namespaces; everything else runs as whoever types make.
ROOT    = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
RIG     = $(ROOT) $(DIST)/nextroot-qemu --dist $(DIST)
BENCH   = $(ROOT) target/$(TARGET)/debug/nextroot-bench

# Where the tests are built, too, as they are: then the rig is made of the same parts.
RIG_BUILD ?= --workspace --bin nextroot-qemu

# Lints, and what builds the rig and the tests. In make test both are one: clippy is the compiler, too, and what it stands on is not
# read a second time. cargo-clippy hands its arguments over in the same way.
CLIPPY ?= $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
TESTED ?= $(CARGO)
LINTED  = env RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ $(CARGO)

# Fuzzing on stable Rust: the compiler's own pass counts edges, libFuzzer reads the counters (docs/decisions/0020). For a quick look the
# counters are in what is ours only, beside the tests' build.
SECONDS ?= 10
FUZZ_FEATURES ?= nextroot-fuzz/libfuzzer
FUZZ_RUN = FUZZ_PROGRAM=$(FUZZ_BUILT)/nextroot-fuzz ./fuzz/run
ifdef FUZZ_QUICK
FUZZ       = RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/rustc $(CARGO) build --locked --workspace --bin nextroot-fuzz
FUZZ_BUILT = $(BUILT)/debug
else
FUZZ       = RUSTC_WRAPPER=$(CURDIR)/fuzz/rustc $(CARGO) build --locked --profile fuzz -p nextroot-fuzz --target-dir target/fuzz
FUZZ_BUILT = target/fuzz/$(TARGET)/fuzz
endif

# Whoever typed -j has said how many.
PARALLEL = $(if $(findstring --jobserver,$(MAKEFLAGS)),,-j2)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
PREFIX ?= /usr
# What is installed is the vendor's part: /etc/nextroot belongs to whoever runs the machine.
UNITS   = $(DESTDIR)$(PREFIX)/lib/systemd/system
SHARE   = $(DESTDIR)$(PREFIX)/share
# What those need who run the program, with the decisions that they name; the rest of docs/ is for those who change it.
GUIDES  = boot-counting.md building.md cmdline.md fleet.md operations.md preflight.md signatures.md soft-reboot.md threat-model.md

.PHONY: help deps build rig trees prepared programs inits beside fuzzer init-size install deb lint-deb demo test test-full check checked matrix matrix-verity matrix-metrics vm soak bench bench-initrd bench-mkinitrd bench-growth bench-soft-reboot bench-verity bench-programs audit fuzz fuzz-planted

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

deps: ## install what is missing (Debian and its relatives)
	@./dist/deps

build: rig ## static binaries, in target/dist/
	@$(MAKE) --no-print-directory $(PARALLEL) programs inits
	@$(MAKE) --no-print-directory init-size

programs:
	$(CARGO) build --release --locked -p nextroot -p nextroot-mkinitrd -p nextroot-guest
	@install -m 0755 $(addprefix $(BUILT)/release/,nextroot mkinitrd guest-init) $(DIST)/

inits: $(if $(filter release,$(INIT_PROFILE)),programs)
	$(CARGO) rustc --profile $(INIT_PROFILE) --locked -p nextroot --no-default-features $(INIT)
	@install -m 0755 $(BUILT)/$(INIT_PROFILE)/nextroot $(DIST)/nextroot-init
	$(CARGO) rustc --profile $(INIT_PROFILE) --locked -p nextroot --no-default-features --features signatures $(INIT)
	@install -m 0755 $(BUILT)/$(INIT_PROFILE)/nextroot $(DIST)/nextroot-init-signatures

rig:
	@mkdir -p $(DIST)
	$(TESTED) build --locked $(RIG_BUILD)
	@install -m 0755 target/$(TARGET)/debug/nextroot-qemu $(DIST)/

trees: rig ## the Debian trees that images and machines are made of, in target/rig/trees/
	@$(RIG) trees

init-size: ## fails where the init weighs more than it may
	@size=$$(stat -c %s $(DIST)/nextroot-init) || exit 1; case $(TARGET) in x86_64-*) ;; *) exit 0 ;; esac; \
	if [ "$$size" -gt $(INIT_MOST) ]; then \
		echo "build: $(DIST)/nextroot-init has $$size bytes, and may have $(INIT_MOST): cut what an init never does, as docs/decisions/0003-init-size.md shows" >&2; \
		exit 1; \
	fi

install: ## binaries, units, configuration, catalog, kernel-install plugin, man pages, completions, guides, schemas: DESTDIR= PREFIX=/usr
	@for file in nextroot mkinitrd nextroot-init nextroot-init-signatures; do \
		test -x $(DIST)/$$file || { echo "install: $(DIST)/$$file is missing: run make build first" >&2; exit 1; }; \
	done
	install -D -m 0755 $(DIST)/nextroot $(DESTDIR)$(PREFIX)/bin/nextroot
	install -D -m 0755 $(DIST)/mkinitrd $(DESTDIR)$(PREFIX)/bin/mkinitrd
	install -D -m 0755 $(DIST)/nextroot-init $(DESTDIR)$(PREFIX)/lib/nextroot/nextroot-init
	install -D -m 0755 $(DIST)/nextroot-init-signatures $(DESTDIR)$(PREFIX)/lib/nextroot/nextroot-init-signatures
	install -D -m 0755 dist/kernel-install/56-nextroot.install $(DESTDIR)$(PREFIX)/lib/kernel/install.d/56-nextroot.install
	cd dist/systemd && find . -type f -exec install -D -m 0644 '{}' '$(abspath $(UNITS))/{}' ';'
	sed -i 's|=/usr/bin/nextroot |=$(PREFIX)/bin/nextroot |' $(UNITS)/nextroot-soft-reboot.service \
		$(UNITS)/systemd-soft-reboot.service.d/10-nextroot.conf
	install -D -m 0644 dist/nextroot.conf $(DESTDIR)$(PREFIX)/lib/nextroot/nextroot.conf
	install -D -m 0644 dist/nextroot.catalog $(DESTDIR)$(PREFIX)/lib/systemd/catalog/nextroot.catalog
	install -d -m 0755 $(SHARE)/doc/nextroot/decisions
	install -m 0644 docs/*.schema.json $(addprefix docs/,$(GUIDES)) $(SHARE)/doc/nextroot/
	install -m 0644 docs/decisions/*.md $(SHARE)/doc/nextroot/decisions/
	install -D -m 0644 dist/man/nextroot.8 $(SHARE)/man/man8/nextroot.8
	install -D -m 0644 dist/man/mkinitrd.8 $(SHARE)/man/man8/mkinitrd.8
	install -D -m 0644 dist/man/nextroot-verity.8 $(SHARE)/man/man8/nextroot-verity.8
	install -D -m 0644 dist/man/nextroot.conf.5 $(SHARE)/man/man5/nextroot.conf.5
	install -D -m 0644 dist/completions/nextroot.bash $(SHARE)/bash-completion/completions/nextroot
	install -D -m 0644 dist/completions/_nextroot $(SHARE)/zsh/site-functions/_nextroot
	install -D -m 0644 dist/completions/nextroot.fish $(SHARE)/fish/vendor_completions.d/nextroot.fish

deb: build ## a Debian package, in target/deb/
	@mkdir -p target/deb
	@./dist/deb/build $(abspath $(DIST)) target/deb $(VERSION)

# It brings a hundred packages, so that `make deps` leaves it out.
lint-deb: deb ## what lintian says of the Debian package, where lintian is installed: nothing
	@if command -v lintian >/dev/null; then \
		lintian --fail-on error,warning target/deb/nextroot_$(VERSION)_*.deb && echo "deb: lintian has nothing to say"; \
	else \
		echo "left out: lint-deb: no lintian is here" >&2; \
	fi

demo: deps build ## watch a boot from a verified root, soft reboots, and the refusal of a damaged one
	@$(RIG) demo

check: ## format, lints, unit and integration tests: no virtual machine
	$(CARGO) fmt --all --check
	$(CLIPPY)
	$(TESTED) test --workspace --locked

fuzzer:
	$(FUZZ) --features $(FUZZ_FEATURES)

fuzz: fuzzer ## hostile input for every parser: make fuzz SECONDS=60 TARGETS="gpt elf"
	$(FUZZ_RUN) $(SECONDS) $(TARGETS)

fuzz-planted: FUZZ_FEATURES = nextroot-fuzz/libfuzzer,nextroot-fuzz/planted-bug
fuzz-planted: fuzzer ## shows that fuzzing finds a bug: one that was planted, within a minute
	@rm -rf target/fuzz/planted
	@if FUZZ_OUT=target/fuzz/planted $(FUZZ_RUN) 60 planted; then echo "fuzz: the planted bug was not found" >&2; exit 1; fi
	@grep -q 'the planted bug' target/fuzz/planted/logs/planted && echo "fuzz: the planted bug was found"

vm: build ## run scenarios: make vm SCENARIO="01 12"
	@$(RIG) run $(SCENARIO)

# Soft reboots in a row.
N ?= 50

soak: build ## many soft reboots in a row (5 at least) leave nothing behind: make soak N=50
	@$(RIG) run --rounds $(N) --json target/rig/results-soak.json 39-soak-257

matrix: matrix-verity matrix-metrics ## hash trees and policies against the newest veritysetup and systemd, metrics against promtool, from Debian trees of their own

matrix-metrics: rig
	@PROMTOOL="$$($(RIG) tool prometheus promtool)" $(TESTED) test --locked --workspace --test fleet -- promtool

matrix-verity: build
	@VERITYSETUP="$$($(RIG) tool forky veritysetup)" SYSTEMD_ANALYZE="$$($(RIG) tool forky systemd-analyze)" \
		$(TESTED) test --locked --workspace --test verity --test fec --test systemd_analyze -- each_ trees_of repaired here versions

bench: bench-initrd bench-mkinitrd bench-verity bench-soft-reboot bench-growth ## all figures and pictures, in target/bench/

bench-initrd: bench-programs ## nextroot's initramfs beside others, in a guest's instructions: target/bench/initrd.json, .svg
	@$(BENCH) initrd --dist $(DIST) -o target/bench/initrd.json

bench-mkinitrd: bench-programs ## mkinitrd beside others, timed: target/bench/mkinitrd.json, .svg
	@$(BENCH) mkinitrd --dist $(DIST) -o target/bench/mkinitrd.json

bench-growth: bench-programs ## by disks, partitions, files in the page cache, soft reboots: target/bench/growth.json, growth-*.svg
	@$(BENCH) growth --dist $(DIST) -o target/bench/growth.json

bench-soft-reboot: bench-programs ## interruptions of services, each way to the next root: target/bench/soft-reboot.json, -*.svg
	@$(BENCH) soft-reboot --dist $(DIST) -o target/bench/soft-reboot.json

bench-verity: bench-programs ## hash trees beside veritysetup: target/bench/verity.json
	@target/$(TARGET)/debug/nextroot-bench verity --nextroot $(DIST)/nextroot --veritysetup "$$($(RIG) tool forky veritysetup)" \
		--work target/bench/work -o target/bench/verity.json

# What it measures are other programs.
bench-programs: build
	$(CARGO) build --locked -p nextroot-bench
	@mkdir -p target/bench

# One fuzzer is built for both.
test: export FUZZ_QUICK = yes
test: export FUZZ_FEATURES = nextroot-fuzz/libfuzzer,nextroot-fuzz/planted-bug
test test-full: export RIG_BUILD = --workspace --all-targets
test test-full: export TESTED = $(LINTED)
test test-full: export CLIPPY = @:
test: export INIT_PROFILE = release
test: prepared ## what a change has to pass
	@$(MAKE) --no-print-directory fuzz-planted
	@FUZZ_SEED=1 FUZZ_RUNS=30000 $(MAKE) --no-print-directory fuzz SECONDS=60
	@$(RIG) run --json target/rig/results.json

test-full: prepared ## every scenario on every systemd: hours; goes on where it was interrupted
	@$(MAKE) --no-print-directory matrix-metrics
	@$(RIG) run --full --go-on --json target/rig/results-full.json

# Tests are built first, the rig with them: what it makes goes beside lints and tests, fuzzing's build beside the links, which have one
# processor. Nobody waits for either before the end.
prepared: deps rig
	@$(MAKE) --no-print-directory -j3 checked beside
	@$(MAKE) --no-print-directory matrix-verity

checked: check
	@$(MAKE) --no-print-directory lint-deb

beside:
	@nice $(RIG) trees
	@$(if $(FUZZ_QUICK),nice $(MAKE) --no-print-directory fuzzer)

audit: ## licences, bans, sources and advisories of all dependencies (needs cargo-deny)
	cargo deny --locked check
