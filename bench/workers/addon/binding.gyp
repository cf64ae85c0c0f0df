{
  "targets": [
    {
      "target_name": "producers",
      "sources": ["producers.cc"],
      "defines": ["NAPI_VERSION=8"],
      "include_dirs": ["<!(node -p \"require('node:path').join(require.resolve('nestjs-streaming/package.json'), '../include')\")"]
    }
  ]
}
