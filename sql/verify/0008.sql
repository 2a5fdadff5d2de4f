-- Replication is off until an operator enables it: a table in the publication, or a right to read one,
-- costs WAL and shows the rows of all profiles.
select published.prrelid::regclass as table_in_publication
from pg_catalog.pg_publication as publication
inner join pg_catalog.pg_publication_rel as published on published.prpubid = publication.oid
where publication.pubname = 'sessionbase';

select class.oid::regclass as readable_by_the_replicator
from pg_catalog.pg_class as class
where class.relnamespace = 'app'::regnamespace
  and class.relkind in ('r', 'p')
  and pg_catalog.has_table_privilege('sessionbase_replicator', class.oid, 'select');
