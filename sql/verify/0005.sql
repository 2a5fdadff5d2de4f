-- A text is blank if JavaScript's trim() returns the empty string for it. The constraint lists the
-- characters as escapes, whose meaning depends on the encoding of the database.
select
  pg_catalog.to_hex(blank.code_point) as code_point,
  'is not removed by the constraint text_not_blank' as problem
from (values (9), (160), (5760), (8232), (12288), (65279)) as blank (code_point)
inner join pg_catalog.pg_constraint as con
  on con.conrelid = 'app.todos'::regclass and con.conname = 'text_not_blank'
where pg_catalog.strpos(
  pg_catalog.pg_get_constraintdef(con.oid), pg_catalog.chr(blank.code_point)
) = 0;
