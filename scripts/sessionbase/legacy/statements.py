"""The importer's SQL, made from the description of a record.

The names of tables, columns and keys come from the description, the values from parameters and
temporary tables. Nothing of a file becomes SQL text.
"""

from collections.abc import Iterable

from psycopg import sql

from sessionbase.legacy.fields import Record

CONSTRAINTS = """
select
  pg_get_expr(conbin, conrelid),
  coalesce(obj_description(oid, 'pg_constraint'), 'it violates the constraint ' || conname)
from pg_constraint
where conrelid = %s::regclass and contype = 'c'
order by conname
"""
REJECT_DUPLICATES = """
update pg_temp.staged
set reasons = array[format('duplicate in the file: record %s has the same id', same.first)]
from (
  select id, min(position) as first
  from pg_temp.staged
  where reasons is null
  group by id
  having count(*) > 1
) as same
where staged.id = same.id and staged.position > same.first and staged.reasons is null
"""
COUNTS = """
select
  (select count(*) from pg_temp.staged),
  (select count(*) from pg_temp.staged where reasons is not null),
  (select count(*) from pg_temp.compared where differs is null),
  (select count(*) from pg_temp.compared where moved_on),
  (select count(*) from pg_temp.compared where differs is not null)
"""


class Statements:
    """The SQL of the import of one kind of record."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._columns = _list(field.column for field in record.stored)

    def create_staged(self, profile: str) -> sql.Composed:
        """Create the staging table: a row for each element of the file."""
        record = self._record
        columns = _list(f"{field.column} {field.kind.type}" for field in record.staged)
        return sql.SQL(f"""
create temp table staged (
  profile_id text not null default {{profile}},
  position bigint not null,
  byte_offset bigint not null,
  {columns},
  record jsonb,
  raw text,
  reasons text[]
)
""").format(profile=sql.Literal(profile))

    def create_candidates(self) -> sql.SQL:
        """Create a view of the records that are not rejected, with the columns of the table."""
        columns = _list(
            field.column if field.kind.staged else f"{field.read('record')} as {field.column}"
            for field in self._record.stored
        )
        return sql.SQL(f"""
create temp view candidates as
select position, profile_id, {columns}, record
from pg_temp.staged
where reasons is null
""")

    def copy_staged(self) -> sql.SQL:
        """Copy rows into the staging table: position, byte offset, fields, record, raw, reasons."""
        columns = _list(field.column for field in self._record.staged)
        return sql.SQL(
            f"copy pg_temp.staged (position, byte_offset, {columns}, record, raw, reasons)"
            " from stdin"
        )

    def reject_invalid(self, constraints: Iterable[tuple[str, str]]) -> sql.Composed:
        """Reject candidates that break a constraint or have a wrong computed field.

        A constraint is an SQL expression and a message. A reject has all reasons that apply.
        """
        rules = [
            *constraints,
            *(
                (
                    f"{field.read('record')} is null"
                    f" or {field.read('record')} is not distinct from ({field.computed})",
                    f"{field.key} is not {field.formula}",
                )
                for field in self._record.fields
                if field.computed
            ),
        ]
        # The constraints come from the catalogue, where they are SQL already.
        broken = [sql.SQL(f"({rule}) is false") for rule, _ in rules]
        reasons = [
            sql.SQL("case when {} then {} end").format(test, sql.Literal(message))
            for test, (_, message) in zip(broken, rules, strict=True)
        ]
        return sql.SQL("""
update pg_temp.staged
set reasons = invalid.reasons
from (
  select position, array_remove(array[{reasons}], null) as reasons
  from pg_temp.candidates
  where {broken}
) as invalid
where invalid.position = staged.position
""").format(reasons=sql.SQL(", ").join(reasons), broken=sql.SQL(" or ").join(broken))

    def compare(self) -> sql.SQL:
        """Compare the candidates with the stored rows of the same keys.

        A row whose status has changed since the file was written is the same record if only fields
        that a transition changes differ and the transition is a legal one. `differs` has the keys
        of the fields that differ; null if it is the same record.
        """
        record = self._record
        others = [field for field in record.stored if field.column != record.key]
        differs = ",\n      ".join(
            f"case when stored.{field.column} is distinct from file.{field.column}"
            f" then '{field.key}' end"
            for field in others
        )
        fixed = [field.column for field in others if not field.changes]
        return sql.SQL(f"""
create temp table compared on commit drop as
select
  position,
  cardinality(differs) > 0 and moved_on as moved_on,
  case when cardinality(differs) > 0 and not moved_on then differs end as differs
from (
  select
    file.position,
    array_remove(array[
      {differs}
    ], null) as differs,
    ({_list(f"stored.{column}" for column in fixed)})
      is not distinct from ({_list(f"file.{column}" for column in fixed)})
    and {record.may_change}(file.{record.status}, stored.{record.status}) as moved_on
  from pg_temp.candidates as file
  join {record.table} as stored
    on stored.profile_id = file.profile_id and stored.{record.key} = file.{record.key}
) as pairs
""")

    def load(self) -> sql.SQL:
        """Insert the candidates of a range of positions that are not stored yet.

        Parameters: the first position, and the one after the last.
        """
        return sql.SQL(f"""
insert into {self._record.table} (profile_id, {self._columns})
select profile_id, {self._columns}
from pg_temp.candidates
where position >= %s and position < %s and not exists (
  select from pg_temp.compared where compared.position = candidates.position
)
on conflict (profile_id, {self._record.key}) do nothing
""")

    def select_bad(self, columns: str, rest: str) -> sql.SQL:
        """Select `columns` of the rejects and conflicts; `rest` is what follows the FROM clause."""
        return sql.SQL(f"""
select {columns}
from (
  select
    position, byte_offset, 'rejected' as outcome, reasons, coalesce(raw, record::text) as payload
  from pg_temp.staged
  where reasons is not null
  union all
  select
    position,
    byte_offset,
    'conflict',
    array['the stored {self._record.noun} has another ' || array_to_string(differs, ', ')],
    record::text
  from pg_temp.compared
  join pg_temp.staged using (position)
  where differs is not null
) as bad
{rest}
""")

    def verify(self) -> sql.SQL:
        """Count the accepted records by status, in file and table, and check their order.

        The file's side is read from its JSON again, not from the columns that were loaded.
        """
        record = self._record
        key, session, status, started = (
            record.field(column).read("staged.record")
            for column in (record.key, record.session, record.status, record.started)
        )
        return sql.SQL(f"""
with records as (
  select
    {key} as file_key,
    {session} as file_session,
    {status} as file_status,
    {started} as file_started,
    stored.{record.key} is null as missing,
    stored.{record.session} as stored_session,
    stored.{record.status} as stored_status,
    stored.{record.started} as stored_started,
    coalesce(compared.moved_on, false) as moved_on
  from pg_temp.staged
  left join pg_temp.compared using (position)
  left join {record.table} as stored
    on stored.profile_id = staged.profile_id and stored.{record.key} = {key}
  where staged.reasons is null and compared.differs is null
),
placed as (
  select
    *,
    row_number() over (
      partition by file_session order by file_started, file_key collate "C"
    ) as file_place,
    row_number() over (
      partition by stored_session order by stored_started, file_key collate "C"
    ) as stored_place
  from records
)
select
  file_status,
  stored_status,
  missing,
  moved_on,
  count(*),
  count(*) filter (where file_place = 1),
  count(*) filter (
    where (stored_session, stored_place) is distinct from (file_session, file_place)
  )
from placed
group by file_status, stored_status, missing, moved_on
""")


def _list(parts: Iterable[str]) -> str:
    return ", ".join(parts)
