"""The rules of `sessionbase migrate plan` against what PostgreSQL really locks and rewrites.

Each case is one statement on tables of its own. The plan is made from the parse tree and the
catalogue; then the rehearsal runs the statement and reads pg_locks, relfilenode and
pg_stat_xact_user_tables. Both must agree, and the lock must be the one that is written here.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from conftest import Stack
from sessionbase.migrate.verify import check_names
from sessionbase.planning.plan import StatementPlan, make_plan, read_work
from sessionbase.planning.rehearse import RehearsedStatement, rehearse
from support.sql_folder import new_database, new_template

AEL = "ACCESS EXCLUSIVE"
SRE = "SHARE ROW EXCLUSIVE"
SUE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
ROW_EXCLUSIVE = "ROW EXCLUSIVE"
ROW_SHARE = "ROW SHARE"

# The tables of every case; NAME is replaced by a name of the case.
TABLES = """
create table app.NAME_parent (id integer primary key);
create table app.NAME (
  id integer primary key,
  a integer not null,
  b text,
  v varchar(10),
  checked varchar(10) check (checked <> ''),
  n numeric(10, 2),
  t timestamptz(3),
  proved integer constraint NAME_proved check (proved is not null),
  parent integer constraint NAME_parent_exists references app.NAME_parent (id),
  loose integer
);
alter table app.NAME add constraint NAME_loose check (loose > 0) not valid;
alter table app.NAME add constraint NAME_loose_parent foreign key (loose)
references app.NAME_parent (id) not valid;
create index NAME_by_a on app.NAME (a);
create unique index NAME_unique on app.NAME (a, id);
insert into app.NAME_parent select generate_series(1, 10);
insert into app.NAME (id, a, b, v, checked, n, t, proved, parent)
select i, i, 'b', 'v', 'c', i, now(), i, i from generate_series(1, 10) i;
"""
PARTITIONED = """
create table app.NAME_parts (id integer not null, a integer) partition by range (id);
create table app.NAME_part1 partition of app.NAME_parts for values from (0) to (10);
create table app.NAME_rest partition of app.NAME_parts default;
create table app.NAME_part2 (id integer not null, a integer);
insert into app.NAME_parts select i, i from generate_series(0, 9) i;
"""


@dataclass(frozen=True)
class Case:
    """A statement, and the strongest lock on each table that exists before."""

    name: str
    statement: str
    locks: dict[str, str]
    rewrites: bool = False
    """Whether app.NAME is rewritten."""
    scans: bool | None = False
    """Whether app.NAME is scanned; None: not asserted here."""
    setup: str = ""
    since: int = 15
    alone: bool = False
    """The file has `-- sessionbase: no-transaction`."""

    @property
    def sql(self) -> str:
        return self.statement.replace("NAME", self.name)


def own(lock: str) -> dict[str, str]:
    return {"app.NAME": lock}


TABLE = "alter table app.NAME "
CASES = [
    Case("add_column", TABLE + "add column x integer", own(AEL)),
    Case("add_constant", TABLE + "add column x integer not null default 7", own(AEL)),
    Case("add_stable", TABLE + "add column x timestamptz default now()", own(AEL)),
    Case("add_volatile", TABLE + "add column x uuid default gen_random_uuid()",
         own(AEL), True, None),
    Case("add_our_volatile", TABLE + "add column x uuid default app.uuidv7()",
         own(AEL), True, None),
    Case("add_identity", TABLE + "add column x integer generated always as identity", own(AEL),
         True, None),
    Case("add_serial", TABLE + "add column x bigserial", own(AEL), True, None),
    Case("add_stored", TABLE + "add column x integer generated always as (a + 1) stored", own(AEL),
         True, None),
    Case("add_virtual", TABLE + "add column x integer generated always as (a + 1) virtual",
         own(AEL), since=18),
    Case("add_check", TABLE + "add column x integer check (x > 0)", own(AEL), scans=True),
    Case("add_unique_column", TABLE + "add column x integer unique", own(AEL), scans=True),
    Case("add_reference", TABLE + "add column x integer references app.NAME_parent (id)",
         {"app.NAME": AEL, "app.NAME_parent": SRE}),
    Case("add_domain", TABLE + "add column x app.NAME_positive", own(AEL), True, None,
         setup="create domain app.NAME_positive as integer check (value > 0)"),
    Case("drop_column", TABLE + "drop column b", own(AEL)),
    Case("drop_key_column", TABLE + "drop column parent",
         {"app.NAME": AEL, "app.NAME_parent": AEL}),
    Case("set_default", TABLE + "alter column b set default 'x'", own(AEL)),
    Case("drop_default", TABLE + "alter column b drop default", own(AEL)),
    Case("set_not_null", TABLE + "alter column b set not null", own(AEL), scans=True),
    Case("set_not_null_proved", TABLE + "alter column proved set not null", own(AEL)),
    Case("set_not_null_again", TABLE + "alter column a set not null", own(AEL)),
    Case("drop_not_null", TABLE + "alter column a drop not null", own(AEL)),
    Case("not_null_not_valid", TABLE + "add constraint NAME_x not null b not valid",
         own(AEL), since=18),
    Case("type_longer", TABLE + "alter column v type varchar(20)", own(AEL)),
    Case("type_text", TABLE + "alter column v type text", own(AEL)),
    Case("type_shorter", TABLE + "alter column v type varchar(5)", own(AEL), True, None),
    Case("type_bigint", TABLE + "alter column a type bigint", own(AEL), True, None),
    Case("type_numeric", TABLE + "alter column n type numeric(12, 2)", own(AEL)),
    Case("type_numeric_scale", TABLE + "alter column n type numeric(12, 4)", own(AEL), True, None),
    Case("type_numeric_any", TABLE + "alter column n type numeric", own(AEL)),
    Case("type_precision", TABLE + "alter column t type timestamptz(6)", own(AEL)),
    Case("type_less_precision", TABLE + "alter column t type timestamptz(0)", own(AEL), True, None),
    Case("type_checked", TABLE + "alter column checked type text", own(AEL), scans=None),
    Case("type_using", TABLE + "alter column b type integer using length(b)", own(AEL), True, None),
    Case("set_statistics", TABLE + "alter column b set statistics 500", own(SUE)),
    Case("set_options", TABLE + "alter column b set (n_distinct = 5)", own(SUE)),
    Case("set_storage", TABLE + "alter column b set storage external", own(AEL)),
    Case("set_compression", TABLE + "alter column b set compression pglz", own(AEL)),
    Case("check_constraint", TABLE + "add constraint NAME_x check (a > 0)", own(AEL), scans=True),
    Case("check_not_valid", TABLE + "add constraint NAME_x check (a > 0) not valid", own(AEL)),
    Case("validate_check", TABLE + "validate constraint NAME_loose", own(SUE), scans=True),
    Case("foreign_key",
         TABLE + "add constraint NAME_x foreign key (a) references app.NAME_parent (id)",
         {"app.NAME": SRE, "app.NAME_parent": SRE}, scans=True),
    Case("foreign_key_not_valid",
         TABLE + "add constraint NAME_x foreign key (a) references app.NAME_parent (id) not valid",
         {"app.NAME": SRE, "app.NAME_parent": SRE}),
    Case("validate_foreign_key", TABLE + "validate constraint NAME_loose_parent",
         {"app.NAME": SUE, "app.NAME_parent": ROW_SHARE}, scans=True),
    Case("unique_constraint", TABLE + "add constraint NAME_x unique (b, id)", own(AEL), scans=True),
    Case("unique_using_index", TABLE + "add constraint NAME_x unique using index NAME_unique",
         own(AEL)),
    Case("exclude", TABLE + "add constraint NAME_x exclude using btree (a with =)",
         own(AEL), scans=True),
    Case("drop_constraint", TABLE + "drop constraint NAME_proved", own(AEL)),
    Case("drop_foreign_key", TABLE + "drop constraint NAME_parent_exists",
         {"app.NAME": AEL, "app.NAME_parent": AEL}),
    Case("drop_primary_key", TABLE + "drop constraint NAME_pkey", own(AEL)),
    Case("primary_key", "alter table app.NAME_nokey add primary key (id)",
         {"app.NAME_nokey": AEL},
         setup="create table app.NAME_nokey (id integer); insert into app.NAME_nokey values (1)"),
    Case("alter_constraint", TABLE + "alter constraint NAME_parent_exists deferrable",
         own(AEL)),
    Case("fillfactor", TABLE + "set (fillfactor = 70)", own(SUE)),
    Case("autovacuum", TABLE + "reset (autovacuum_vacuum_scale_factor)", own(SUE)),
    Case("unlogged", "alter table app.NAME_lone set unlogged", {"app.NAME_lone": AEL},
         setup="create table app.NAME_lone (id integer); insert into app.NAME_lone values (1)"),
    Case("replica_identity", TABLE + "replica identity full", own(AEL)),
    Case("cluster_on", TABLE + "cluster on NAME_by_a", own(SUE)),
    Case("enable_rls", TABLE + "enable row level security", own(AEL)),
    Case("force_rls", TABLE + "force row level security", own(AEL)),
    Case("disable_trigger", TABLE + "disable trigger user", own(SRE)),
    Case("owner", TABLE + "owner to sessionbase_owner", own(AEL)),
    Case("rename_table", TABLE + "rename to NAME_renamed", own(AEL)),
    Case("rename_column", TABLE + "rename column b to c", own(AEL)),
    Case("rename_constraint", TABLE + "rename constraint NAME_proved to NAME_x", own(AEL)),
    Case("rename_index", "alter index app.NAME_by_a rename to NAME_by_x", {"app.NAME_by_a": SUE}),
    Case("index_fillfactor", "alter index app.NAME_by_a set (fillfactor = 70)",
         {"app.NAME_by_a": SUE}),
    Case("set_schema", TABLE + "set schema ops", own(AEL)),
    Case("create_index", "create index on app.NAME (b)", own(SHARE), scans=True),
    Case("create_unique_index", "create unique index on app.NAME (b, id)", own(SHARE), scans=True),
    Case("create_index_concurrently", "create index concurrently NAME_new on app.NAME (b)",
         own(SUE), scans=None, alone=True),
    Case("drop_index", "drop index app.NAME_by_a", own(AEL)),
    Case("drop_index_concurrently", "drop index concurrently app.NAME_by_a", own(SUE),
         scans=None, alone=True),
    Case("reindex_index", "reindex index app.NAME_by_a", {"app.NAME": SHARE, "app.NAME_by_a": AEL},
         scans=True),
    Case("reindex_table", "reindex table app.NAME",
         {"app.NAME": SHARE, "app.NAME_by_a": AEL, "app.NAME_pkey": AEL, "app.NAME_unique": AEL},
         scans=True),
    Case("reindex_concurrently", "reindex index concurrently app.NAME_by_a", own(SUE), scans=None,
         alone=True),
    Case("create_trigger",
         "create trigger x before update on app.NAME for each row execute function"
         " suppress_redundant_updates_trigger()", own(SRE)),
    Case("drop_trigger", "drop trigger NAME_trigger on app.NAME", own(AEL),
         setup="create trigger NAME_trigger before update on app.NAME for each row execute function"
         " suppress_redundant_updates_trigger()"),
    Case("rename_trigger", "alter trigger NAME_trigger on app.NAME rename to x", own(AEL),
         setup="create trigger NAME_trigger before update on app.NAME for each row execute function"
         " suppress_redundant_updates_trigger()"),
    Case("create_policy", "create policy x on app.NAME using (true)", own(AEL)),
    Case("alter_policy", "alter policy NAME_policy on app.NAME using (false)", own(AEL),
         setup="create policy NAME_policy on app.NAME using (true)"),
    Case("drop_policy", "drop policy NAME_policy on app.NAME", own(AEL),
         setup="create policy NAME_policy on app.NAME using (true)"),
    Case("create_rule", "create rule x as on insert to app.NAME do nothing", own(AEL)),
    Case("create_statistics", "create statistics app.NAME_s on a, b from app.NAME", own(SUE)),
    Case("drop_statistics", "drop statistics app.NAME_stats", own(SUE),
         setup="create statistics app.NAME_stats on a, b from app.NAME"),
    Case("comment_table", "comment on table app.NAME is 'x'", own(SUE)),
    Case("comment_column", "comment on column app.NAME.a is 'x'", own(SUE)),
    Case("comment_constraint", "comment on constraint NAME_proved on app.NAME is 'x'", {}),
    Case("comment_index", "comment on index app.NAME_by_a is 'x'", {"app.NAME_by_a": SUE}),
    Case("grant", "grant select on app.NAME to auditor", {}),
    Case("grant_column", "grant update (b) on app.NAME to auditor", {}),
    Case("revoke", "revoke all on app.NAME from auditor", {}),
    Case("default_privileges", "alter default privileges in schema app grant select on tables"
         " to auditor", {}),
    Case("create_publication", "create publication NAME_pub for table app.NAME", own(SUE)),
    Case("view", "create view app.NAME_view as select id from app.NAME", {}, scans=None),
    Case("replace_view", "create or replace view app.NAME_old as select a as id from app.NAME",
         {"app.NAME_old": AEL}, setup="create view app.NAME_old as select id from app.NAME",
         scans=None),
    Case("drop_view", "drop view app.NAME_old", {"app.NAME_old": AEL},
         setup="create view app.NAME_old as select id from app.NAME"),
    Case("child_table", "create table app.NAME_child (id integer references app.NAME_parent (id))",
         {"app.NAME_parent": SRE}),
    Case("inherit", "create table app.NAME_heir () inherits (app.NAME)", own(SUE)),
    Case("like", "create table app.NAME_copy (like app.NAME)", {}),
    Case("partition", "create table app.NAME_part3 partition of app.NAME_parts for values from"
         " (20) to (30)", {"app.NAME_parts": AEL, "app.NAME_rest": AEL}, setup=PARTITIONED),
    Case("attach", "alter table app.NAME_parts attach partition app.NAME_part2 for values from (20)"
         " to (30)", {"app.NAME_parts": SUE, "app.NAME_part2": AEL, "app.NAME_rest": AEL},
         setup=PARTITIONED),
    Case("detach", "alter table app.NAME_parts detach partition app.NAME_part1",
         {"app.NAME_parts": AEL, "app.NAME_part1": AEL, "app.NAME_rest": AEL}, setup=PARTITIONED),
    Case("partitioned_column", "alter table app.NAME_parts add column x integer",
         {"app.NAME_parts": AEL, "app.NAME_part1": AEL, "app.NAME_rest": AEL}, setup=PARTITIONED),
    Case("partitioned_index", "create index on app.NAME_parts (a)",
         {"app.NAME_parts": SHARE, "app.NAME_part1": SHARE, "app.NAME_rest": SHARE},
         setup=PARTITIONED),
    Case("drop_partition", "drop table app.NAME_part1",
         {"app.NAME_parts": AEL, "app.NAME_part1": AEL, "app.NAME_rest": AEL}, setup=PARTITIONED),
    Case("drop_table", "drop table app.NAME", {"app.NAME": AEL, "app.NAME_parent": AEL}),
    Case("truncate", "truncate app.NAME", own(AEL), True, None),
    Case("matview", "refresh materialized view app.NAME_mat", {"app.NAME_mat": AEL},
         setup="create materialized view app.NAME_mat as select id from app.NAME", scans=None),
    Case("lock_table", "lock table app.NAME in exclusive mode", own("EXCLUSIVE")),
    Case("insert", "insert into app.NAME_parent values (100)", {"app.NAME_parent": ROW_EXCLUSIVE}),
    Case("update", "update app.NAME set b = 'y'", own(ROW_EXCLUSIVE), scans=None),
    Case("delete", "delete from app.NAME", own(ROW_EXCLUSIVE), scans=None),
    Case("for_update", "select from app.NAME for update", own(ROW_SHARE), scans=None),
    Case("domain_check", "alter domain app.NAME_code add constraint NAME_x check (value <> '')",
         {"app.NAME_codes": SHARE},
         setup="create domain app.NAME_code as text; create table app.NAME_codes"
         " (code app.NAME_code)"),
    Case("domain_not_valid",
         "alter domain app.NAME_code add constraint NAME_x check (value <> '') not valid", {},
         setup="create domain app.NAME_code as text; create table app.NAME_codes"
         " (code app.NAME_code)"),
    Case("sequence", "alter sequence app.NAME_seq cache 5", {"app.NAME_seq": SRE},
         setup="create sequence app.NAME_seq"),
    Case("function", "create function app.NAME_f() returns integer language sql return 1", {}),
    Case("vacuum", "vacuum app.NAME", own(SUE), scans=None, alone=True),
    Case("cluster", "cluster app.NAME using NAME_by_a", own(AEL), True, None),
    Case("analyze", "analyze app.NAME", own(SUE), scans=None),
]  # fmt: skip


@dataclass(frozen=True)
class Result:
    planned: StatementPlan
    rehearsed: RehearsedStatement


@pytest.fixture(scope="module")
def results(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Plan and rehearse all cases at once: one file, and one more for each without transaction."""
    folder = tmp_path_factory.mktemp("cases")
    with new_template(stack.db_uri) as template, new_database(stack.db_uri, template) as uri:
        with psycopg.connect(uri) as conn:
            major = conn.info.server_version // 10_000
            conn.execute("set role sessionbase_owner")
            cases = [case for case in CASES if major >= case.since]
            for case in cases:
                conn.execute(f"{TABLES};{case.setup}".replace("NAME", case.name).encode())
        together = [case for case in cases if not case.alone]
        alone = [case for case in cases if case.alone]
        files = [folder / "together.sql", *(folder / f"{case.name}.sql" for case in alone)]
        files[0].write_text("".join(f"{case.sql};\n" for case in together))
        for case, path in zip(alone, files[1:], strict=True):
            path.write_text(f"-- sessionbase: no-transaction\n{case.sql};\n")
        plan = make_plan(uri, read_work(uri, None, files))
        rehearsal = rehearse(uri, None, files, plan, sample=100, skip_lints=check_names())
        assert rehearsal.failure is None, f"correct the case: {rehearsal.failure}"
        planned = [one for file in plan.files for one in file.statements]
        rehearsed = [one for file in rehearsal.files for one in file.statements]
        return {
            case.name: Result(one, other)
            for case, one, other in zip(together + alone, planned, rehearsed, strict=True)
        }


@pytest.fixture
def result(request: pytest.FixtureRequest, results: dict[str, Result]) -> Result:
    case: Case = request.param
    if case.name not in results:  # the fixture left it out
        pytest.skip(f"needs PostgreSQL {case.since}")
    return results[case.name]


@pytest.mark.parametrize(
    ("case", "result"), [(case, case) for case in CASES], ids=lambda case: case.name,
    indirect=["result"],
)  # fmt: skip
def test_the_plan_matches_what_postgresql_does(case: Case, result: Result) -> None:
    planned, done = result.planned, result.rehearsed
    wanted = {name.replace("NAME", case.name): lock for name, lock in case.locks.items()}
    held = {one.relation: one.lock for one in done.locks if not one.new}
    if "concurrently" in case.name:
        # ACCESS EXCLUSIVE on the old index is taken at the end, when no session uses it any more.
        held = {name: lock for name, lock in held.items() if name in wanted}
    assert held == wanted, "correct the case: PostgreSQL takes other locks"
    assert {one.relation: one.lock for one in planned.tables if not one.new} == wanted
    assert planned.unknown == []
    table = f"app.{case.name}"
    assert (table in done.rewritten) == case.rewrites, "correct the case"
    if case.scans is not None:
        assert (table in done.scanned) == case.scans, "correct the case"
    mine: Any = next((one for one in planned.tables if one.relation == table), None)
    if mine is not None:
        assert mine.rewrite == case.rewrites
        if case.scans is not None:
            assert mine.scan == case.scans
    assert done.differences == []
