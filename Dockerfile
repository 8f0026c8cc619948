# One image per program, each with the static binary and nothing else. `make image` compiles the programs and gives the
# folder they are in as the context:
#   docker build --platform linux/arm64 --target manager --file Dockerfile bin/linux_arm64
# COPY comes first in each: the classic builder takes an image's architecture from its first layer, not from --platform.

FROM scratch AS manager
COPY manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]

FROM scratch AS hello-server
COPY hello-server /hello-server
USER 65532:65532
ENTRYPOINT ["/hello-server"]

FROM scratch AS hello-client
COPY hello-client /hello-client
USER 65532:65532
ENTRYPOINT ["/hello-client"]
