# Stands in for postgrest/postgrest, which contains only the program too (and its libraries, if it is not static).
FROM scratch
COPY root /
ENV PATH=/bin
USER 1000
CMD ["/bin/postgrest"]
