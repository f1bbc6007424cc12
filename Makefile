# assignment_v3: build, install and try out
#
#	make && make install && make installcheck	as for any PGXS extension
#	make test	all tests, in a throw-away cluster
#	make demo	two simulated weeks of three restaurants (KEEP=1 leaves the cluster running)
#	make pictures	the pictures in docs/pictures, from the demo
#	make bench	the benchmark
#	make bench-worker	how long a guest waits where a background worker seats the bookings
#	make bench-scale	what a booking costs in databases of several sizes
#	make bench-backlog	what taking the next one costs, with a backlog and beside a transaction left open for an hour
#	make bench-crowd	64 clients on one restaurant for ten minutes
#	make check-regress | check-isolation | check-pgtap | check-tap [TESTS="name …"]
#			one kind of test, optionally only the tests named
#			(VERBOSE=1 shows each assertion; what they wrote is in results/)
#	make stop	stops the clusters that KEEP=1 left running
#
# BENCH_SHARED_BUFFERS is how much memory the benchmarks' clusters have (4GB).
# PG_CONFIG chooses the PostgreSQL to build for; WERROR=1 makes warnings errors.
# The targets from "make test" on install missing Debian packages by themselves,
# so this file must parse where the server headers are not installed yet.

EXTENSION = assignment_v3
MODULE_big = assignment_v3
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(EXTENSION).control)
PG_CONFIG ?= pg_config
export PG_CONFIG

# The install script is made of these parts, in this order.
SQL_PARTS = preamble types states transition coordinator planner flags attach \
	operations months outbox rollout shadow gates verify watch queue worker timeline report access privileges
BUILT_SQL = sql/$(EXTENSION)--$(EXTVERSION).sql

OBJS := $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA := $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built = $(BUILT_SQL)
EXTRA_CLEAN = .build

# pg_regress takes ./expected and, up to PostgreSQL 15, ./sql before those of
# the input directory: there, a test with the name of a part would never run.
REGRESS := $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
ISOLATION := $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
REGRESS_OPTS = --inputdir=test
ISOLATION_OPTS = --inputdir=test --outputdir=.
ifneq ($(filter $(SQL_PARTS),$(REGRESS)),)
$(error test/sql has the name of a part in sql: $(filter $(SQL_PARTS),$(REGRESS)))
endif

PG_CPPFLAGS = -DASSIGNMENT_V3_VERSION='"$(EXTVERSION)"'
# The server's headers as system headers: their warnings are not ours.  An
# unused fcinfo is what every SQL-callable function without arguments has.
ifeq ($(WERROR),1)
PG_CPPFLAGS += -isystem $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Werror
endif

# Headers are tracked by PGXS.  No bitcode: nothing here gains from inlining by
# the JIT compiler, and it would tie the build to one version of clang.
override autodepend := yes
override with_llvm := no

.DEFAULT_GOAL := all

PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
.PHONY: all install uninstall installcheck clean
all install uninstall installcheck clean:
	@echo '$(PG_CONFIG) finds no server headers; install them with: scripts/setup build' >&2; exit 1
endif

# What was built for another PostgreSQL or with other flags is built anew.
BUILD_KEY = $(EXTVERSION) $(shell $(PG_CONFIG) --version --bindir 2>/dev/null) $(WERROR)
.PHONY: FORCE
.build: FORCE
	@echo '$(BUILD_KEY)' | cmp -s - $@ || echo '$(BUILD_KEY)' >$@
$(OBJS): .build

$(BUILT_SQL): $(SQL_PARTS:%=sql/%.sql) $(EXTENSION).control Makefile
	cat $(SQL_PARTS:%=sql/%.sql) >$@.tmp && mv $@.tmp $@

# Everything below sets itself up.
TEST_KINDS = regress isolation pgtap tap
TEST_SETTINGS = -c fsync=off -c max_prepared_transactions=10
BENCH_FSYNC ?= on
BENCH_SHARED_BUFFERS ?= 4GB
BENCH_SETTINGS = -c fsync=$(BENCH_FSYNC) -c shared_buffers=$(BENCH_SHARED_BUFFERS) -c max_wal_size=4GB \
	-c min_wal_size=1GB -c checkpoint_timeout=30min
KEEP_CLUSTER = $(if $(filter 1,$(KEEP)),-k)

define get_ready
	@scripts/setup $(1)
	@$(MAKE) --no-print-directory -s all
	@scripts/install
endef

.PHONY: test demo pictures bench bench-worker bench-scale bench-backlog bench-crowd stop check-version $(TEST_KINDS:%=check-%)

test: check-version
	$(call get_ready,test)
	@scripts/with_cluster -o results $(TEST_SETTINGS) scripts/run_tests $(TEST_KINDS)

$(TEST_KINDS:%=check-%): check-%:
	$(call get_ready,$(if $(filter tap,$*),test,check))
	@scripts/with_cluster -o results $(TEST_SETTINGS) scripts/run_tests $*

demo:
	$(call get_ready,run)
	@scripts/with_cluster $(KEEP_CLUSTER) scripts/demo

pictures:
	$(call get_ready,browser)
	@scripts/with_cluster -o docs/pictures scripts/pictures

bench:
	$(call get_ready,run)
	@scripts/with_cluster $(KEEP_CLUSTER) $(BENCH_SETTINGS) bench/run

bench-worker:
	$(call get_ready,run)
	@scripts/with_cluster $(KEEP_CLUSTER) $(BENCH_SETTINGS) -c shared_preload_libraries=assignment_v3 \
		-c assignment_v3.worker_databases=bench_worker bench/worker

bench-scale:
	$(call get_ready,run)
	@scripts/with_cluster $(KEEP_CLUSTER) $(BENCH_SETTINGS) -c max_wal_size=12GB -c autovacuum=off bench/scale

bench-backlog:
	$(call get_ready,run)
	@scripts/with_cluster $(KEEP_CLUSTER) $(BENCH_SETTINGS) -c max_wal_size=16GB -c checkpoint_timeout=2h bench/backlog

# Every line of the log begins with the database and the SQLSTATE: the errors are counted there.
bench-crowd:
	$(call get_ready,run)
	@scripts/with_cluster $(KEEP_CLUSTER) $(BENCH_SETTINGS) -c log_line_prefix='%m [%p] %d %e ' bench/crowd

stop:
	@scripts/with_cluster -s

# META.json can't read the version from the control file, so it is compared.
check-version:
	@test "$$(grep -c '"version": "$(EXTVERSION)"' META.json)" -eq 2 || \
		{ echo 'META.json has another version than $(EXTENSION).control ($(EXTVERSION))' >&2; exit 1; }
