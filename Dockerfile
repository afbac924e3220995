# syntax=docker/dockerfile:1

# Build: a static binary with no C library, on the builder's own platform for the one that is asked for:
#   docker buildx build --platform linux/amd64,linux/arm64 .
FROM --platform=$BUILDPLATFORM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags="-s -w" -o /guildcast ./cmd/guildcast

# Run: nothing but the binary and the certificate authorities, as a user without rights.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /guildcast /guildcast
USER 65532:65532
EXPOSE 8080
# The image has no shell and no curl.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 CMD ["/guildcast", "health"]
ENTRYPOINT ["/guildcast"]
CMD ["serve"]
