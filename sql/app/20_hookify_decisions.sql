-- Domain 2: the hash chain of hookify decisions.

create or replace function app.chain_hookify_decision() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  chain app.hookify_chains;
begin
  -- The chain of an imported profile is imported with its positions, times and hashes. The setting
  -- saves the call in all other cases.
  if coalesce(pg_catalog.current_setting('sessionbase.imported_profile', true), '') <> ''
    and new.profile_id = app.imported_profile() then
    return new;
  end if;
  -- The row lock on the head serialises concurrent decisions of the profile.
  loop
    select * into chain
    from app.hookify_chains as stored
    where stored.profile_id = new.profile_id
    for update;
    exit when found;
    insert into app.hookify_chains (profile_id)
    values (new.profile_id)
    on conflict (profile_id) do nothing;
  end loop;

  new.position := chain.length + 1;
  new.previous_hash := chain.head_hash;
  new.created_at := pg_catalog.clock_timestamp();
  new.row_hash := app.hookify_decision_hash(new);

  update app.hookify_chains as stored
  set length = new.position, head_hash = new.row_hash
  where stored.profile_id = new.profile_id;
  return new;
end
$$;
comment on function app.chain_hookify_decision() is
'Trigger: appends a new decision to the profile''s chain.
SECURITY DEFINER so that no client role may write the head of the chain.';

create or replace function app.verify_hookify_chain(
  inout profile_id text,
  in from_position bigint,
  in max_decisions bigint,
  out valid boolean,
  out checked bigint,
  out length bigint,
  out head_hash text,
  out next_position bigint,
  out first_bad_position bigint,
  out first_bad_id text,
  out problem text
)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  chain app.hookify_chains;
  last_position bigint;
  before_range text := pg_catalog.repeat('0', 64);
begin
  select * into chain
  from app.hookify_chains as head
  where head.profile_id = verify_hookify_chain.profile_id;
  length := coalesce(chain.length, 0);
  head_hash := coalesce(chain.head_hash, pg_catalog.repeat('0', 64));
  -- least: the sum must not be larger than the largest bigint.
  last_position := least(
    verify_hookify_chain.from_position,
    9223372036854775807 - verify_hookify_chain.max_decisions
  ) + verify_hookify_chain.max_decisions - 1;

  -- row_hash of the decision before the range.
  if verify_hookify_chain.from_position > 1 then
    select decision.row_hash into before_range
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
      and decision.position = verify_hookify_chain.from_position - 1;
  end if;

  select
    pg_catalog.count(*),
    pg_catalog.min(link.position) filter (where link.problem is not null)
  into checked, first_bad_position
  from (
    select
      decision.position,
      case
        when decision.position <> verify_hookify_chain.from_position - 1
          + pg_catalog.row_number() over in_order then 'position'
        when decision.row_hash <> app.hookify_decision_hash(decision) then 'row_hash'
        when decision.previous_hash is distinct from pg_catalog.lag(
          decision.row_hash, 1, before_range
        ) over in_order then 'previous_hash'
      end as problem
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
      and decision.position between verify_hookify_chain.from_position and last_position
    window in_order as (order by decision.position)
  ) as link;

  if first_bad_position is not null then
    select
      decision.id,
      case
        when not exists (
          select
          from app.hookify_decisions as previous
          where previous.profile_id = decision.profile_id
            and previous.position = decision.position - 1
        ) and decision.position > 1 then pg_catalog.format(
          'decision %s of the chain is missing', decision.position - 1
        )
        when decision.row_hash <> app.hookify_decision_hash(decision)
          then 'the row was changed after it was recorded'
        else 'the row does not follow from the one before it'
      end
    into first_bad_id, problem
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
      and decision.position = first_bad_position;
  elsif chain.profile_id is null then
    first_bad_position := 1;
    problem := 'the head of the chain is missing';
  elsif verify_hookify_chain.from_position - 1 + checked
    < least(last_position, chain.length) then
    first_bad_position := verify_hookify_chain.from_position + checked;
    problem := pg_catalog.format(
      'the chain ends after %s decisions, but %s were recorded',
      first_bad_position - 1, chain.length
    );
  -- The last and the first row by the index, because a search for rows out of the range could read
  -- the whole table when there are none.
  elsif (
    select decision.position
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
    order by decision.position desc
    limit 1
  ) > chain.length then
    first_bad_position := chain.length + 1;
    problem := pg_catalog.format(
      'the chain has more than the %s decisions that were recorded', chain.length
    );
  elsif (
    select decision.position
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
    order by decision.position
    limit 1
  ) < 1 then
    select decision.position, decision.id
    into strict first_bad_position, first_bad_id
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
    order by decision.position
    limit 1;
    problem := 'the row was added outside the chain, which starts at position 1';
  elsif chain.length between 1 and last_position and chain.head_hash is distinct from (
    select decision.row_hash
    from app.hookify_decisions as decision
    where decision.profile_id = verify_hookify_chain.profile_id
      and decision.position = chain.length
  ) then
    first_bad_position := chain.length;
    problem := 'the newest row is not the one that was recorded last';
  end if;

  if problem is null and last_position < chain.length then
    next_position := last_position + 1;
  else
    valid := problem is null;
  end if;
end
$$;
comment on function app.verify_hookify_chain(text, bigint, bigint) is
'Verify at most max_decisions decisions of one profile, from a position on. valid is null if no error
was found and the chain continues at next_position.';
grant execute on function app.verify_hookify_chain(text, bigint, bigint) to authenticated, auditor;
