# The commands of everyday work. `make run` leads from a clone to a served token.

CARGO ?= cargo
# Most tests wait for something.
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))

.PHONY: run setup check test test-mysql test-galera fuzz soak soak-faults bench openapi

# A server with a simulated provider on embedded SQLite.
run:
	$(CARGO) run -- serve --demo

# What the tests need beside Rust: a database server, Node and an OAuth server.
setup:
	@tests/setup.sh

# Format, lints without warnings, and a minute of fuzzing. That generated files are current is
# a test.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --test soak --test soak_faults --locked -- -D warnings
	@fuzz/run.sh 60

# Everything, on SQLite and on MariaDB (or the server of TEST_MYSQL_URL).
test: setup
	$(CARGO) test --workspace --locked

# The tests of databases on MySQL 9, in a server that this starts; must be run by root.
test-mysql: setup
	tests/servers/mysql.sh $(CARGO) test --locked --test it --test faults on_mysql

# The fault tests on a Galera cluster of three nodes that this starts, and then those that
# break a node, by themselves; must be run by root.
test-galera:
	tests/servers/galera.sh $(CARGO) test --locked --features galera --test faults on_galera \
		-- --skip broken
	tests/servers/galera.sh $(CARGO) test --locked --features galera --test faults broken

# An hour of fuzzing of what reads other people's input.
fuzz:
	@fuzz/run.sh 3600

# Ten minutes of 50 secrets against a real OAuth server; prints what was seen.
soak: setup
	$(CARGO) test --locked --test soak -- --nocapture

# Five replicas killed and stopped at random for half an hour, against a lenient provider, then
# against a strict one; prints the counts.
soak-faults: setup
	$(CARGO) test --locked --test soak_faults -- lenient
	$(CARGO) test --locked --test soak_faults -- strict

# Measures every mark, prints the table and keeps it in benches/RESULTS.md. Some of them:
# cargo bench --bench marks -- 1 3. Single functions: cargo bench --bench hot
bench: setup
	$(CARGO) bench --locked --bench marks

# Writes the specification, and the schema of realm documents, that the code makes.
openapi:
	$(CARGO) run --quiet -- openapi > openapi/openapi.json
	$(CARGO) run --quiet -- realm schema > openapi/realm.schema.json
