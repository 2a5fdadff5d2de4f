# Stands in for postgrest/postgrest, which is made the same way: the program and nothing else.
FROM scratch
COPY postgrest /bin/postgrest
ENV PATH=/bin
USER 1000
CMD ["/bin/postgrest"]
