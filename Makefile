# The commands of everyday work. `make run` leads from a clone to a served token; `make` lists all.

CARGO ?= cargo
# Most tests wait for something.
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))

.PHONY: help run setup check check-tools check-clippy advisories test test-binaries test-mysql test-large test-clients test-galera test-group-replication test-upgrade schemathesis fuzz fuzz-lock soak soak-faults bench image test-image dist test-package console test-console test-console-short openapi snapshots docs docs-reference

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# With the console where there is npm. Without, or where npm fails, the server's page says how to build it.
run: ## a server with a simulated provider, on embedded SQLite
	-@if command -v npm >/dev/null; then $(MAKE) --no-print-directory console; fi
	$(CARGO) run --locked -- serve --demo

setup: ## installs what the tests need beside Rust: a database server, Node, OAuth servers
	@tests/setup.sh

# That generated files are current is a test. Naming examples, of which there are none, lets the
# documentation use what clippy has compiled: dependencies with the features of the tests.
check: ## format, lints and documentation without warnings, licences, spelling
	$(CARGO) fmt --all --check
	$(MAKE) --no-print-directory -j2 check-tools check-clippy
	$(CARGO) clippy --test soak --test soak_faults --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --document-private-items --locked --lib --examples

# The tools come over the network while clippy compiles.
check-tools:
	@tests/tools/check.sh

# With as many jobs as there are cores: those of make are two.
check-clippy:
	MAKEFLAGS= MFLAGS= $(CARGO) clippy --workspace --all-targets --locked -- -D warnings

advisories: ## known vulnerabilities of dependencies; asks the network
	@tests/tools/check.sh advisories

# What the tests run comes over the network while they are compiled.
test: ## everything, on SQLite and on MariaDB (or the server of TEST_MYSQL_URL)
	$(MAKE) --no-print-directory -j2 setup test-binaries
	tests/memory.sh $(CARGO) test --workspace --locked

# With as many jobs as there are cores: those of make are two.
test-binaries:
	MAKEFLAGS= MFLAGS= $(CARGO) test --workspace --locked --no-run

test-mysql: setup ## the tests of databases on MySQL 9, in a server that this starts; as root
	tests/servers/mysql.sh $(CARGO) test --locked --test it --test faults on_mysql

test-large: setup ## the import and two jobs at once, with as many rows as is promised
	TEST_ROWS=all tests/memory.sh $(CARGO) test --locked --test it -- import::predecessor scheduled_job::two_at_once

test-clients: setup ## the clients and adapters of docs/clients that are compiled: Go, Java and PHP
	tests/clients/compile.sh $(CARGO) test --locked --features clients --test it client_examples::

# First all, then those that break a node, by themselves.
test-galera: ## the fault tests on a Galera cluster of three nodes that this starts; as root
	tests/servers/galera.sh $(CARGO) test --locked --features cluster --test faults on_a_cluster
	tests/servers/galera.sh $(CARGO) test --locked --features cluster --test faults broken

test-group-replication: ## the same on three nodes of MySQL 9 with Group Replication; as root
	tests/servers/group-replication.sh $(CARGO) test --locked --features cluster --test faults on_a_cluster
	tests/servers/group-replication.sh $(CARGO) test --locked --features cluster --test faults broken

test-upgrade: setup ## the last release, or UPGRADE_FROM=COMMIT, and this server on one database, under load
	tests/upgrade.sh "$(UPGRADE_FROM)" $(CARGO) test --locked --features upgrade --test faults upgrade::

schemathesis: setup ## 20 minutes of generated requests, in sequences, on both databases (SCHEMATHESIS_SECONDS)
	SCHEMATHESIS_SECONDS=$${SCHEMATHESIS_SECONDS:-1200} $(CARGO) test --locked --test it schemathesis:: -- --nocapture

fuzz-lock: ## takes the versions of Cargo.lock into fuzz/Cargo.lock
	cp Cargo.lock fuzz/Cargo.lock
	$(CARGO) fetch --manifest-path fuzz/Cargo.toml

fuzz: ## an hour of fuzzing of what reads other people's input
	@fuzz/run.sh 3600

soak: setup ## ten minutes of 50 secrets against a real OAuth server; prints what was seen
	$(CARGO) test --locked --test soak -- --nocapture

# Against a lenient provider, then against a strict one; prints the counts.
soak-faults: setup ## five replicas killed and stopped at random: half an hour, twice
	$(CARGO) test --locked --test soak_faults -- lenient
	$(CARGO) test --locked --test soak_faults -- strict

# Some of them: cargo bench --bench marks -- 1 3. Single functions: cargo bench --bench hot
bench: setup ## measures every mark, prints the table and keeps it in benches/RESULTS.md
	$(CARGO) bench --locked --bench marks

image: ## the container image token-server, by docker, podman or buildah
	docker/build.sh

test-image: ## the image built and run without a registry; prints its size and start time; as root
	tests/image/test.sh

dist: ## what is released, below target/release-files: archive, Debian package, SBOM, checksums
	packaging/dist.sh

test-package: dist ## installs, upgrades and purges the Debian package in a fresh root; as root
	tests/package/test.sh

openapi: ## writes openapi/openapi.json and openapi/realm.schema.json
	$(CARGO) run --locked --quiet -- openapi > openapi/openapi.json
	$(CARGO) run --locked --quiet -- realm schema > openapi/realm.schema.json

snapshots: ## records the answers of tests/it/snapshots/ anew; look at the difference
	INSTA_UPDATE=always $(CARGO) test --locked --test it snapshots::

console: console/dist/index.html ## builds the console into console/dist; Node 20 or newer

# `cargo build` compiles in what this leaves in console/dist.
console/dist/index.html: openapi/openapi.json $(shell git ls-files console 2>/dev/null)
	npm --prefix console ci
	npm --prefix console run build

# CHROMIUM names the browser, TEST_MYSQL_URL a server instead of the MariaDB that this starts.
test-console: console ## the console: types, texts, logic, size, and walks through it in Chromium on both databases
	npm --prefix console test
	$(CARGO) build --locked
	tests/console.sh

test-console-short: console ## of these walks: a first token, and one look at each page, on SQLite
	$(CARGO) build --locked
	tests/console.sh short

docs: ## builds the book of docs/ into target/book, with mdbook
	@command -v mdbook >/dev/null || { echo "mdbook is missing: cargo install mdbook --locked --version 0.5.4"; exit 1; }
	mdbook build docs

docs-reference: ## writes the generated parts of docs/src/reference/
	WRITE_REFERENCE=1 $(CARGO) test --locked --test it reference::the_page_of
