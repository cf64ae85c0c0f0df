{
  "targets": [
    {
      "target_name": "producers",
      "sources": ["producers.c", "threads.cc"],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-Wall", "-Wextra", "-Werror"],
      "include_dirs": ["<!(node -p \"require('node:path').join(require.resolve('nestjs-streaming/package.json'), '../include')\")"]
    }
  ]
}
