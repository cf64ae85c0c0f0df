{
  "targets": [
    {
      "target_name": "tokens",
      "sources": ["tokens.cc"],
      "defines": ["NAPI_VERSION=8"],
      "include_dirs": ["<!(node -p \"require('node:path').join(require.resolve('nestjs-streaming/package.json'), '../include')\")"]
    }
  ]
}
