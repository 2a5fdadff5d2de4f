# Stands in for haproxy:3.2: Debian's HAProxy 2.6, with the user and the stop signal of that image.
FROM sessionbase-test/debian:bookworm
RUN useradd --system --uid 99 --user-group --no-create-home sessionbase-haproxy
USER 99
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
