# xraybench with everything but a GPU driver. Build: docker build -t xraybench .
#   docker run --rm -v /data/xray:/data:ro -v $PWD/runs:/work/runs xraybench run --all --data /data --out runs/mine
# For GPUs: run with --gpus all; the wheels bring CUDA.
FROM python:3.11-slim

RUN useradd --create-home bench
WORKDIR /work
COPY requirements-run.lock ./
RUN pip install --no-cache-dir --no-deps -r requirements-run.lock
COPY . /src
RUN pip install --no-cache-dir --no-deps /src && chown bench /work
USER bench
ENV XRAYBENCH_CACHE=/work/cache OMP_WAIT_POLICY=PASSIVE
ENTRYPOINT ["bench"]
CMD ["--help"]
